"""The report of a run: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from dynaflex.errors import InputError
from dynaflex.io.durable import write_text
from dynaflex.report import advice, page, summary
from dynaflex.report.evidence import UNUSABLE, Evidence, guarded
from dynaflex.report.files import Record

_OPTIONAL = {
    "alignment.json": "Latents of half 2 that are the conformation of half 1 at rest",
    "poses_drift.json": "How far the refined poses drifted",
}
"""Files that not every run has, and what they tell."""


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
        self.shown = Evidence(run)
        self.provenance = self.shown.provenance

    def parts(self) -> Iterator[str]:
        """The page from top to bottom: what was found, the evidence, how it was made."""
        shown = self.shown
        yield self._header()
        yield from self._summary()
        yield "<h2>Resolution</h2>"
        yield from shown.resolution()
        yield "<h2>Motion</h2>"
        yield from shown.moved()
        yield "<h2>Latent space</h2>"
        yield shown.latent_space()
        yield "<h2>Training</h2>"
        if shown.metrics:
            yield page.paragraph(f"{summary.effort(shown.metrics)}.")
        yield shown.trained()
        yield f"<h2>{escape(shown.words.heading)}</h2>"
        yield from shown.model()
        yield "<h2>How it was made</h2>"
        yield from self._tables()

    def _header(self) -> str:
        command = _text(self.provenance, "command")
        lines = [
            f'<p class="kicker">dynaflex report · {escape(self.shown.words.method)}</p>',
            f"<h1>{escape(self.run.resolve().name)}</h1>",
        ]
        if command:
            lines.append(f"<p><code>{escape(command)}</code></p>")
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
        shown = self.shown
        motion, metrics = shown.motion, shown.metrics or []
        if motion is not None:
            yield guarded(
                "motion.npz", lambda: page.paragraph(summary.Motion.of(motion).sentence(shown.shared), "lead")
            )
        if shown.fsc is not None:
            yield page.paragraph(summary.resolution_sentence(shown.fsc, shown.shared), "lead")
        gain = advice.gain_sentence(metrics)
        yield page.paragraph(sentence if gain is None else f"{gain} {sentence}")
        if warnings:
            yield page.box("Warnings", warnings, "warnings")
        yield guarded("latents.npz", self._advice)
        if shown.files.absent:
            yield page.box(
                "This report is not complete; a stopped run can be resumed",
                [f"{name}: {reason}" for name, reason in shown.files.absent.items()],
                "warnings",
            )
        shared = _texts(self.provenance, "shared_between_halves")
        if shared:
            yield page.box("What the two halves shared", shared)
        elif "shared_between_halves" in self.provenance:
            yield page.box("What the two halves shared", ["nothing"])

    def _advice(self) -> str:
        shown = self.shown
        found = advice.advice(shown.words, shown.config or {}, shown.latents, shown.metrics or [])
        return page.box("Advice", found, "warnings") if found else ""

    def _tiles(self) -> Iterator[summary.Tile]:
        if self.shown.fsc is not None:
            whole = self.shown.fsc
            value = summary.arrow(summary.resolution(whole.get("rigid")), summary.resolution(whole.get("deformed")))
            yield summary.Tile("Resolution", value, "rigid → corrected, half-maps at FSC 0.143")
            part = whole.get("moving_part")
            if isinstance(part, dict):
                value = summary.arrow(summary.resolution(part.get("rigid")), summary.resolution(part.get("deformed")))
                yield summary.Tile("In the moving part", value, "rigid → corrected, half-maps at FSC 0.143")
        if self.shown.motion is not None:
            try:
                motion = summary.Motion.of(self.shown.motion)
            except UNUSABLE:
                return
            yield summary.Tile("Motion", f"{motion.strongest:.1f} Å", "rms; a tenth of the molecule moves more")
            if motion.error is not None:
                yield summary.Tile("Uncertainty", f"{motion.error:.1f} Å", "median disagreement of the half models")
        counts = self.provenance.get("counts")
        if isinstance(counts, dict) and isinstance(counts.get("used"), int):
            left_out = len(summary.excluded_rows(counts))
            yield summary.Tile("Particles", f"{counts['used']:,}", f"used; {left_out:,} excluded")

    def _tables(self) -> Iterator[str]:
        if self.shown.config is None:
            yield page.absent(f"No settings here, because of config.json: {self.shown.reason('config.json')}.")
        else:
            yield page.folded("Settings", page.table(summary.flattened(self.shown.config), ("setting", "value")))
        if not self.provenance:
            yield page.absent(f"No inputs here, because of provenance.json: {self.shown.reason('provenance.json')}.")
        inputs = self.provenance.get("inputs")
        if isinstance(inputs, dict) and inputs:
            yield page.folded("Inputs", page.table(summary.flattened(inputs), ("input", "value")))
        counts = self.provenance.get("counts")
        rows = summary.excluded_rows(counts) if isinstance(counts, dict) else []
        if rows:
            lines = [(reason, f"{count:,}", of_it) for reason, count, of_it in summary.reasons(rows)]
            yield page.folded(f"{len(rows):,} excluded particles", page.table(lines, ("reason", "particles", "rows")))
        for name, title in _OPTIONAL.items():
            if (self.run / name).is_file():
                record = self.shown.files.record(name)
                reason = self.shown.reason(name)
                yield page.folded(
                    title, page.table(summary.flattened(record)) if record else page.absent(f"{name}: {reason}.")
                )


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
