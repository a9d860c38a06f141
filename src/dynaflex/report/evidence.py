"""The figures of the report with their captions, each from files of the run, or the reason why it is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from dynaflex.analyze.domains import camera_across
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.mesh.segments import LabelledMesh
from dynaflex.report import page, training_curves
from dynaflex.report.drawing import curves, figures, latents, mesh_picture, pictures
from dynaflex.report.drawing.curves import Plot
from dynaflex.report.drawing.style import Drawing
from dynaflex.report.facts import summary
from dynaflex.report.facts.advice import held_out_gain
from dynaflex.report.facts.files import Arrays, Record, RunFiles
from dynaflex.report.facts.resolution import Nyquist
from dynaflex.report.facts.supported import stored_support
from dynaflex.report.facts.verdicts import stored_controls
from dynaflex.report.facts.wording import THRESHOLD, wording_of
from dynaflex.run.files import MESH
from dynaflex.shapes import Array

FIGURES = "figures"
"""The folder of a run with the figures of its report."""
_Content = TypeVar("_Content")
UNUSABLE = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RuntimeError, InputError)


class Evidence:
    """What the numbers in a run directory show, and the figures made of them.

    ``drawings`` are those on the page so far, by the names of their files. Of an ``unfinished`` run nothing is missed:
    what is not there yet leaves no gap.
    """

    def __init__(self, run: Path, *, unfinished: bool = False) -> None:
        self.unfinished = unfinished
        self.drawings: dict[str, Drawing] = {}
        self.files = RunFiles(run)
        self.provenance = self.files.record("provenance.json") or {}
        self.config = self.files.record("config.json")
        settings = self.config or {}
        self.words = wording_of(run, settings)
        self.shared = settings.get("half_sets") == "shared"
        self.wall = settings.get("prior") == "wall"
        self.grid = self.files.record("grid.json") or {}
        self.fsc = self.files.record("fsc.json")
        self.model_fsc = self.files.record("model_fsc.json")
        self.metrics = self.files.metrics()
        self.motion = self.files.arrays("motion.npz", "points", "rms_displacement", "direction")
        if self.shared and self.motion is not None:
            # Two halves of one model differ by nothing but where the search for latents began.
            self.motion.pop("error", None)
        self.latents = self.files.arrays("latents.npz", "half", "mean")
        self.controls = stored_controls(self.files)
        self.support = stored_support(self.files)
        self.threshold = self.files.record(THRESHOLD) if THRESHOLD in self.words.shown else None
        self.mesh = self.files.mesh() if MESH in self.words.shown else None
        self.merged = None if unfinished else self.files.volume("maps/map.mrc")

    def resolution(self) -> Iterator[str]:
        """The FSC of the half-maps in the whole and in the part that moves."""
        caption = (
            "Fourier shell correlation of the two half-maps, corrected for the motion and of the same particles rigid. "
            "A phase-randomised curve is the masked one without what the mask itself adds; resolution is read from it."
        )
        limit = self.fsc.get("claim_limit") if self.fsc else None
        if isinstance(limit, int | float) and self.shared:
            caption += (
                " Both halves share one model of the motion, trained on all particles: in the shaded band, up to the "
                f"Nyquist limit of training ({limit:.2f} Å), nothing is independent, and agreement proves nothing."
            )
        elif isinstance(limit, int | float):
            caption += " Inside the shaded band the halves had a common start, so agreement there proves nothing."
        yield self.plotted("fsc", caption, "fsc.json", self.fsc, self._fsc_plots, 3.6)

    def moved(self) -> Iterator[str]:
        """Where the molecule moves, what that looks like, and by how much."""
        caption = f"the {self.words.points} of half 1 by rms displacement over all particles"
        if self.motion is not None and summary.known_error(self.motion) is not None:
            caption = f"Where it moves and how sure that is: {caption}, and by the disagreement of the two half models "
            caption += "on held-out particles, on one scale."
        else:
            caption = f"Where it moves: {caption}."
        yield self.figure("motion", caption, "motion.npz", self.motion, self._draw_motion)
        caption = f"How far each particle is from the reference conformation, rms over the {self.words.points}."
        yield self.figure(
            "displacement",
            caption,
            "motion.npz",
            self.motion,
            lambda motion: figures.draw_displacements(np.asarray(motion["displacement_norm"], np.float64)),
        )
        if self.motion is not None:
            yield guarded("motion.npz", lambda: page.table(*summary.displacement_table(self.motion or {})))

    def latent_space(self) -> str:
        """Where the particles lie."""
        caption = "Every particle in the plane of the two largest principal components of "
        if self.shared:
            caption += "the latent space that both halves share."
        else:
            caption += "its half's latent space; the two are independent, so directions and signs need not match."
        if self.latents is not None and self.latents["mean"].shape[1:] == (2,):
            caption += " Below, the two coordinates themselves; dashed, " + (
                f"the wall of the prior at {latents.WALL:g}."
                if self.wall
                else "one and two standard deviations of the prior."
            )
        return self.figure(
            "latents",
            caption,
            "latents.npz",
            self.latents,
            lambda found: latents.draw_latents(
                np.asarray(found["mean"], np.float64), found["half"], self.shared, self.wall
            ),
        )

    def trained(self) -> str:
        """Curves by epoch."""
        lines = self.metrics or []
        caption = f"Training by epoch; {self.words.shaded}"
        if any(isinstance(line.get("log_likelihood"), int | float) for line in lines):
            caption += (
                " The likelihood of the images is against one noise for all epochs: it rises as the fit improves."
            )
        else:
            caption += (
                " The loss is against noise that is learned anew in every epoch, so it may rise while the fit "
                "improves; that of the first, in which the noise is not known yet, is left out."
            )
        if any(held_out_gain(line) is not None for line in lines):
            caption += (
                " The gain is what latents that were fitted to an image add over the same map at rest; noise alone "
                "brings half a nat a coordinate."
            )
        plots = lambda lines: training_curves.training_plots(lines, self.words.geometry, self._training_width())  # noqa: E731
        return self.plotted("training", caption, "metrics.jsonl", self.metrics, plots, 2.3)

    def model(self) -> Iterator[str]:
        """What carried the motion: a mesh where there is one, the model itself, and how Gaussians were placed."""
        if MESH in self.words.shown:
            caption = (
                "The mesh that carries the map: sections by segment, its surface, and, where cells differ in them, the "
                "weights with which they resist being deformed."
            )
            yield self.figure("mesh", caption, MESH, self.mesh, self._draw_mesh)
        caption = (
            f"Fourier shell correlation of each half's {self.words.model} to its consensus map and to its final map."
        )
        plots = lambda halves: [figures.model_fsc_plot(halves)]  # noqa: E731
        yield self.plotted("model", caption, "model_fsc.json", self.model_fsc, plots, 3.0)
        if THRESHOLD in self.words.shown:
            caption = "Densities of the consensus map; Gaussians were placed where it exceeds the threshold."
            yield self.figure("threshold", caption, THRESHOLD, self.threshold, _draw_threshold)

    def reason(self, source: str) -> str:
        """Why the files named in ``source`` were not used."""
        found = {self.files.absent[name] for name in source.split(", ") if name in self.files.absent}
        return "; ".join(sorted(found)) or "empty"

    def figure(
        self, key: str, caption: str, source: str, content: _Content | None, draw: Callable[[_Content], Drawing]
    ) -> str:
        """A figure of the ``content`` of the files in ``source``, kept under its ``key``; a line why there is none."""
        if not content:
            return self.missing(source, caption)

        def drawn() -> str:
            drawing = draw(content)
            shown = page.figure(key, drawing.svg(), caption, self._beside(key))
            self.drawings[key] = drawing
            return shown

        return guarded(source, drawn)

    def plotted(
        self,
        key: str,
        caption: str,
        source: str,
        content: _Content | None,
        plot: Callable[[_Content], list[Plot]],
        height: float,
    ) -> str:
        """The same for curves that the page draws, in plots that are ``height`` inches tall."""
        if not content:
            return self.missing(source, caption)

        def drawn() -> str:
            plots = plot(content)
            if not plots:
                return self.missing(source, caption)
            drawing = curves.draw_curves(plots, height)
            described = curves.described(plots, height)
            shown = page.plotted(key, described, drawing.svg(), caption, self._beside(key))
            self.drawings[key] = drawing
            return shown

        return guarded(source, drawn)

    def missing(self, source: str, caption: str) -> str:
        """What stands in the place of something that the files in ``source`` do not give."""
        if self.unfinished:
            return ""
        return page.absent(f"No figure here, because of {source}: {self.reason(source)}. {caption}")

    @cached_property
    def camera(self) -> Array:
        """The camera ``(3 3)`` of all pictures of a run: across its main motion, or down z where that is not known."""
        if self.motion is None:
            return np.eye(3)
        with suppress(*UNUSABLE):
            points, direction = (np.asarray(self.motion[name], np.float64) for name in ("points", "direction"))
            return camera_across(points + np.array([-1.0, 0.0, 1.0])[:, None, None] * direction)
        return np.eye(3)

    @property
    def start(self) -> float:
        """The resolution in Å of the map that both halves started from."""
        found = (self.config or {}).get("shared_resolution")
        return float(found) if isinstance(found, int | float) else 20.0

    def _beside(self, key: str) -> str | None:
        """The files of a figure beside the page, which that of an unfinished run has not."""
        return None if self.unfinished else f"{FIGURES}/{key}"

    def _fsc_plots(self, fsc: Record) -> list[Plot]:
        limit, nyquist, part = fsc.get("claim_limit"), Nyquist.of(fsc, self.grid), fsc.get("moving_part")
        found = [figures.fsc_plot("the whole molecule", fsc, limit, nyquist)]
        if isinstance(part, dict):
            found.append(figures.fsc_plot("the part that moves", part, limit, nyquist))
        return found

    def _training_width(self) -> float | None:
        box, pixel_size = self.grid.get("train_box"), self.grid.get("train_pixel_size")
        return box * float(pixel_size) if isinstance(box, int) and isinstance(pixel_size, int | float) else None

    def _draw_motion(self, motion: Arrays) -> Drawing:
        points, moves, direction = (
            np.asarray(motion[name], np.float64) for name in ("points", "rms_displacement", "direction")
        )
        return pictures.draw_motion(points, moves, direction, summary.known_error(motion), self.camera)

    def _draw_mesh(self, labelled: LabelledMesh) -> Drawing:
        """The mesh over the merged map, or over nothing while there is none."""
        merged = self.merged
        if merged is not None:
            grid = Grid(merged.box, merged.pixel_size or 1.0)
            return mesh_picture.draw_mesh(labelled, grid, torch.from_numpy(merged.data))
        grid = Grid(self.grid["box"], self.grid["pixel_size"])
        return mesh_picture.draw_mesh(labelled, grid, torch.zeros((grid.box,) * 3))


def guarded(source: str, make: Callable[[], str]) -> str:
    """A part of the page, or a line that says why its file's contents could not be used."""
    try:
        return make()
    except UNUSABLE as error:
        return page.absent(f"The contents of {source} cannot be shown: {type(error).__name__}: {error}")


def _draw_threshold(found: Record) -> Drawing:
    edges, counts = (np.asarray(found[f"histogram_{name}"], np.float64) for name in ("edges", "counts"))
    return figures.draw_threshold(edges, counts, float(found["threshold"]), bool(found.get("automatic")))
