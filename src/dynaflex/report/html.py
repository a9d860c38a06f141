"""The report of a run: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import TypeVar

import numpy as np

from dynaflex.errors import InputError
from dynaflex.io.durable import write_text
from dynaflex.report import figures, page, pictures, summary
from dynaflex.report.files import Arrays, Record, RunFiles

_Content = TypeVar("_Content")
_UNUSABLE = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError)


def write_report(run: Path) -> Path:
    """Write ``report.html`` from the files of a run directory and return its path.

    A file that is missing or damaged, as in a stopped run, is named in the place where its contents would be.

    Raises:
        InputError: there is no such directory.
        EnvironmentFault: the report cannot be written.
    """
    run = Path(run)
    if not run.is_dir():
        raise InputError("run.missing", "no such run directory", file=run, fix="name the folder given to -o")
    target = run / "report.html"
    write_text(target, page.document(f"{run.resolve().name} · dynaflex report", _Report(run).parts()))
    return target


class _Report:
    """The contents of a run, and the page made of them."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.files = RunFiles(run)
        self.provenance = self.files.record("provenance.json") or {}
        self.config = self.files.record("config.json")
        self.fsc = self.files.record("fsc.json")
        self.model_fsc = self.files.record("model_fsc.json")
        self.metrics = self.files.lines("metrics.jsonl")
        self.motion = self.files.arrays("motion.npz", "points", "rms_displacement", "direction")
        self.latents = self.files.arrays("latents.npz", "half", "mean")
        self.threshold = self.files.record("threshold.json")
        self.corrected = self.files.mean_slices("maps/map_half1.mrc", "maps/map_half2.mrc")
        self.rigid = self.files.mean_slices("maps/rigid_half1.mrc", "maps/rigid_half2.mrc")

    def parts(self) -> Iterator[str]:
        """The page from top to bottom: what was found, the evidence, how it was made."""
        yield self._header()
        yield from self._summary()
        yield "<h2>Resolution</h2>"
        yield self._resolution_figure()
        yield self._slices_figure()
        yield "<h2>Motion</h2>"
        yield self._motion_figure()
        yield self._displacement_figure()
        yield "<h2>Latent space</h2>"
        yield self._latents_figure()
        yield "<h2>Training</h2>"
        if self.metrics:
            yield page.paragraph(f"{summary.effort(self.metrics)}.")
        yield self._training_figure()
        yield "<h2>Gaussian model</h2>"
        yield self._model_figure()
        yield self._threshold_figure()
        yield "<h2>How it was made</h2>"
        yield from self._tables()

    def _header(self) -> str:
        method = _text(self.provenance, "command")
        lines = ['<p class="kicker">dynaflex report</p>', f"<h1>{escape(self.run.resolve().name)}</h1>"]
        if method:
            lines.append(f"<p><code>{escape(method)}</code></p>")
        made = [("started", _text(self.provenance, "started")), ("dynaflex", _text(self.provenance, "version"))]
        known = " · ".join(f"{name} {value}" for name, value in made if value)
        if known:
            lines.append(f"<p>{escape(known)}</p>")
        return "<header>\n" + "\n".join(lines) + "\n</header>"

    def _summary(self) -> Iterator[str]:
        warnings = _texts(self.provenance, "warnings")
        counts = self.provenance.get("counts")
        sentence, mismatch = summary.counts_sentence(counts if isinstance(counts, dict) else {})
        if mismatch:
            warnings.append(mismatch)
        yield '<dl class="tiles">' + "".join(_tile(tile) for tile in self._tiles()) + "</dl>"
        if self.motion is not None:
            yield _guarded(
                "motion.npz", lambda: page.paragraph(summary.Motion.of(self.motion or {}).sentence(), "lead")
            )
        if self.fsc is not None:
            yield page.paragraph(summary.resolution_sentence(self.fsc), "lead")
        yield page.paragraph(sentence)
        if warnings:
            yield page.box("Warnings", warnings, "warnings")
        if self.files.absent:
            yield page.box(
                "This report is not complete; a stopped run can be resumed",
                [f"{name}: {reason}" for name, reason in self.files.absent.items()],
                "warnings",
            )
        shared = _texts(self.provenance, "shared_between_halves")
        if shared:
            yield page.box("What the two halves shared", shared)
        elif "shared_between_halves" in self.provenance:
            yield page.box("What the two halves shared", ["nothing"])

    def _tiles(self) -> Iterator[summary.Tile]:
        if self.fsc is not None:
            whole = self.fsc
            value = summary.arrow(summary.resolution(whole.get("rigid")), summary.resolution(whole.get("deformed")))
            yield summary.Tile("Resolution", value, "rigid → corrected, half-maps at FSC 0.143")
            part = whole.get("moving_part")
            if isinstance(part, dict):
                value = summary.arrow(summary.resolution(part.get("rigid")), summary.resolution(part.get("deformed")))
                yield summary.Tile("In the moving part", value, "rigid → corrected, half-maps at FSC 0.143")
        if self.motion is not None:
            try:
                motion = summary.Motion.of(self.motion)
            except _UNUSABLE:
                return
            yield summary.Tile("Motion", f"{motion.strongest:.1f} Å", "rms; a tenth of the molecule moves more")
            if motion.error is not None:
                yield summary.Tile("Uncertainty", f"{motion.error:.1f} Å", "median disagreement of the half models")
        counts = self.provenance.get("counts")
        if isinstance(counts, dict) and isinstance(counts.get("used"), int):
            left_out = len(summary.excluded_rows(counts))
            yield summary.Tile("Particles", f"{counts['used']:,}", f"used; {left_out:,} excluded")

    def _resolution_figure(self) -> str:
        caption = (
            "Fourier shell correlation of the two half-maps: corrected for the motion, and the same particles rigid."
        )
        if self.fsc and isinstance(self.fsc.get("claim_limit"), int | float):
            caption += " Inside the shaded band the halves had a common start, so agreement there proves nothing."
        return self._figure(
            "fsc",
            caption,
            "fsc.json",
            self.fsc,
            lambda fsc: figures.draw_fsc(fsc["deformed"], fsc.get("rigid"), fsc.get("claim_limit")),
        )

    def _slices_figure(self) -> str:
        names = [f"maps/{kind}_half{half}.mrc" for kind in ("rigid", "map") for half in (1, 2)]
        missing = [name for name in names if name in self.files.absent]
        return self._figure(
            "slices",
            "Central slices of the rigid and the corrected map (means of their half-maps, one grey scale).",
            ", ".join(missing or names),
            (self.rigid, self.corrected) if self.rigid and self.corrected else None,
            lambda pair: pictures.draw_slices(pair[0].planes, pair[1].planes, pair[0].pixel_size),
        )

    def _motion_figure(self) -> str:
        caption = (
            "Where it moves and how sure that is: the Gaussians of half 1 by rms displacement over all particles, "
            "and by the disagreement of the two half models on held-out particles, on one scale."
        )
        return self._figure("motion", caption, "motion.npz", self.motion, _draw_motion)

    def _displacement_figure(self) -> str:
        return self._figure(
            "displacement",
            "How far each particle is from the reference conformation, rms over the Gaussians.",
            "motion.npz",
            self.motion,
            lambda motion: figures.draw_displacements(np.asarray(motion["displacement_norm"], np.float64)),
        )

    def _latents_figure(self) -> str:
        caption = (
            "Every particle in the plane of the two largest principal components of its half's latent space; "
            "the two spaces are independent, so directions and signs need not match."
        )
        return self._figure(
            "latents",
            caption,
            "latents.npz",
            self.latents,
            lambda latents: figures.draw_latents(np.asarray(latents["mean"], np.float64), latents["half"]),
        )

    def _training_figure(self) -> str:
        caption = "Training by epoch; in the shaded epochs only the Gaussians were trained."
        return self._figure("training", caption, "metrics.jsonl", self.metrics, figures.draw_training)

    def _model_figure(self) -> str:
        caption = "Fourier shell correlation of each half's Gaussian model to its consensus map and to its final map."
        return self._figure("model", caption, "model_fsc.json", self.model_fsc, figures.draw_model_fsc)

    def _threshold_figure(self) -> str:
        caption = "Densities of the consensus map; Gaussians were placed where it exceeds the threshold."
        return self._figure("threshold", caption, "threshold.json", self.threshold, _draw_threshold)

    def _figure(
        self, key: str, caption: str, source: str, content: _Content | None, draw: Callable[[_Content], bytes]
    ) -> str:
        if not content:
            return page.absent(f"No figure here, because of {source}: {self._reason(source)}. {caption}")
        return _guarded(source, lambda: page.figure(key, draw(content), caption))

    def _reason(self, source: str) -> str:
        found = {self.files.absent[name] for name in source.split(", ") if name in self.files.absent}
        return "; ".join(sorted(found)) or "empty"

    def _tables(self) -> Iterator[str]:
        if self.config is None:
            yield page.absent(f"No settings here, because of config.json: {self._reason('config.json')}.")
        else:
            yield page.folded("Settings", page.table(summary.flattened(self.config), ("setting", "value")))
        if not self.provenance:
            yield page.absent(f"No inputs here, because of provenance.json: {self._reason('provenance.json')}.")
        inputs = self.provenance.get("inputs")
        if isinstance(inputs, dict) and inputs:
            yield page.folded("Inputs", page.table(summary.flattened(inputs), ("input", "value")))
        counts = self.provenance.get("counts")
        rows = summary.excluded_rows(counts) if isinstance(counts, dict) else []
        if rows:
            lines = [(reason, f"{count:,}", of_it) for reason, count, of_it in summary.reasons(rows)]
            yield page.folded(f"{len(rows):,} excluded particles", page.table(lines, ("reason", "particles", "rows")))
        if (self.run / "poses_drift.json").is_file():
            drift = self.files.record("poses_drift.json")
            content = page.table(summary.flattened(drift)) if drift else page.absent(self._reason("poses_drift.json"))
            yield page.folded("How far the refined poses drifted", content)


def _guarded(source: str, make: Callable[[], str]) -> str:
    """A part of the page, or a line that says why its file's contents could not be used."""
    try:
        return make()
    except _UNUSABLE as error:
        return page.absent(f"The contents of {source} cannot be shown: {type(error).__name__}: {error}")


def _draw_motion(motion: Arrays) -> bytes:
    points, moves, direction = (
        np.asarray(motion[name], np.float64) for name in ("points", "rms_displacement", "direction")
    )
    return pictures.draw_motion(points, moves, direction, summary.known_error(motion))


def _draw_threshold(found: Record) -> bytes:
    edges, counts = (np.asarray(found[f"histogram_{name}"], np.float64) for name in ("edges", "counts"))
    return figures.draw_threshold(edges, counts, float(found["threshold"]), bool(found.get("automatic")))


def _tile(tile: summary.Tile) -> str:
    return (
        f'<div><dt>{escape(tile.label)}</dt><dd class="value">{escape(tile.value)}</dd>'
        f'<dd class="remark">{escape(tile.remark)}</dd></div>'
    )


def _text(record: Record, key: str) -> str:
    value = record.get(key)
    return " ".join(str(part) for part in value) if isinstance(value, list) else str(value or "")


def _texts(record: Record, key: str) -> list[str]:
    value = record.get(key)
    return [str(item) for item in value] if isinstance(value, list) else []
