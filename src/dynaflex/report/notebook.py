"""Conformations for a notebook: a film in a frame of its own, which needs nothing but the page it stands in."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import torch

from dynaflex.io.durable import write_text
from dynaflex.report import page
from dynaflex.report.drawing.conformations import carry_surface
from dynaflex.report.drawing.film import Film, film_of_motion, film_of_one
from dynaflex.report.drawing.player import film_figure
from dynaflex.results.trained import TrainedHalf
from dynaflex.run.directory import Run
from dynaflex.shapes import Tensor

_CONTROLS = 200
"""Pixels that the names, the scale, the controls and the caption take around the pictures."""
_CLOSE = "<style>main { padding: .5rem 12px; } figure { margin: 0; }</style>"


@dataclass(frozen=True)
class Shown:
    """A page that Jupyter shows as the output of a cell, ``height`` pixels high.

    ``html`` is the whole of it. Nothing in it is loaded from anywhere.
    """

    html: str = field(repr=False)
    height: int

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self.html)}" style="width: 100%; height: {self.height}px; border: 0"></iframe>'

    def save(self, path: Path | str) -> None:
        """Write the page into a file, for any browser.

        Raises:
            EnvironmentFault, ResourceError: it cannot be written.
        """
        write_text(Path(path), self.html)


def show_conformation(run: Run, trained: TrainedHalf, latents: Tensor) -> Shown:
    """The corrected map in the conformation ``latents`` ``(k)`` of a half, beside that of the half's mean latents.

    Raises:
        InputError: the map cannot be read, or shows no molecule.
    """
    both = torch.stack([trained.latents.mean.mean(dim=0), latents])
    film = film_of_one(carry_surface(run, trained, both), ("mean conformation", "this conformation"))
    place = ", ".join(f"{value:+.2f}" for value in latents.tolist()).replace("-", "−")
    return _shown(film, f"The conformation at {place} of half {trained.half}.", goes_round=True)


def show_path(run: Run, trained: TrainedHalf, latents: Tensor) -> Shown:
    """The corrected map in the conformations ``latents`` ``(f k)`` of a half, one after the other.

    Raises:
        InputError: the map cannot be read, or shows no molecule.
    """
    called = [f"conformation {number} of {len(latents)}" for number in range(1, len(latents) + 1)]
    film = film_of_motion(carry_surface(run, trained, latents), called)
    return _shown(film, f"{len(latents)} conformations of half {trained.half}.", goes_round=False)


def _shown(film: Film, caption: str, *, goes_round: bool) -> Shown:
    figure = film_figure("film", film, caption, goes_round=goes_round)
    return Shown(page.document("dynaflex", [_CLOSE, figure]), film.height + _CONTROLS)
