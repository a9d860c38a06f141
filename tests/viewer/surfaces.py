"""The surface of a page: opened on what has moved, with its menus set, and looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from viewer.browsing import Visit, next_link, visited
from viewer.conftest import Explorer

PLACE = """async (share) => {
  const { particles } = dynaflex.explore;
  const [x, y, half] = await Promise.all(['motion1', 'motion2', 'half'].map((name) => particles.values(name)));
  const inOrder = [...x.keys()].filter((i) => half[i] === 1).sort((i, j) => x[i] - x[j]);
  const one = inOrder[Math.floor(share * inOrder.length)];
  const [left, top] = dynaflex.explore.plot.toPixels(x[one], y[one]);
  return [left / plot.clientWidth, top / plot.clientHeight];
}"""
"""Where on the plot a particle of half 1 is, by its rank: where none is, a warning is written into the picture."""


def opened(browser: Any, run: Path, start: Callable[..., Explorer]) -> Visit:
    """The page of a run, light, with a conformation of half 1 that has moved: limits of colours are a half's own."""
    explorer = start(run)
    visit = visited(browser, run, explorer, next_link(explorer))
    visit.ask("() => { if (document.documentElement.dataset.theme !== 'light') theme.click() }")
    visit.page.select_option("#half", "1")
    visit.page.mouse.click(*visit.at(*visit.ask(PLACE, 0.95)))
    visit.settled()
    return visit


def choose(visit: Visit, show: str = "surface", colour: str = "none", arrows: bool = False) -> np.ndarray:
    """Set the menus over the surface, wait until it is as they say, and give its pixels."""
    visit.page.select_option("#drawn-as", show)
    visit.page.select_option("#surface-colour", colour)
    visit.page.set_checked("#arrows", arrows)
    shown = None if colour in ("none", "segment") else colour
    layers = ["density", *(["colour"] if shown else []), *(["arrows"] if arrows else [])]
    layers += [] if show == "surface" else ["parts"]
    visit.until(
        "(wanted) => { const { message } = dynaflex.explore.view;"
        " return JSON.stringify([message.layers, message.colour?.id ?? null]) === JSON.stringify(wanted) }",
        [layers, shown],
    )
    visit.until("() => dynaflex.explore.view.embodied === dynaflex.explore.view.message")
    visit.until("() => !dynaflex.explore.view.surface.busy")
    visit.ask("() => dynaflex.explore.view.paint(true)")
    return visit.surface()


def near(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    """How many pixels have the hue of a colour: what its channels are to one another, whatever the light."""
    wanted = np.array(colour) / np.linalg.norm(colour)
    bright = np.linalg.norm(picture, axis=2)
    return int(((picture @ wanted > 0.985 * bright) & (bright > 60)).sum())
