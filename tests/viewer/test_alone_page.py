"""Far from all particles, in a real browser: the page says so, on the picture and in all that is exported of it."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dynaflex.palettes import frame_colours, rgb
from viewer.browsing import Visit, visited
from viewer.conftest import Explorer

FAR = (0.97, 0.04)


@pytest.fixture(scope="module")
def visit(browser: Any, finished_run: Path, start: Callable[..., Explorer]) -> Visit:
    explorer = start(finished_run)
    return visited(browser, finished_run, explorer, f"http://127.0.0.1:{explorer.port}/?token={explorer.token}")


def shown(visit: Visit, place: tuple[float, float]) -> tuple[int, str]:
    """How many particles are near the conformation at a place, as the page knows it and as it says it."""
    visit.ask("() => { dynaflex.explore.times.length = 0 }")
    visit.page.mouse.click(*visit.at(*place))
    visit.settled()
    return visit.ask("() => dynaflex.explore.message.near"), visit.page.inner_text("#place")


@pytest.mark.parametrize("axes", [("motion1", "motion2"), ("component1", "component2"), ("latent1", "latent2")])
def test_a_place_without_particles_says_so_on_the_picture(visit: Visit, axes: tuple[str, str]) -> None:
    for name, axis in zip("xy", axes, strict=True):
        visit.page.select_option(f"#{name}", axis)
    words = [visit.ask("(name) => dynaflex.explore.particles.title(name)", axis) for axis in axes]
    visit.until("(words) => dynaflex.explore.plot.labels.join() === words", ",".join(words))
    alone = visit.page.locator("#surface .alone")
    near, text = shown(visit, FAR)
    assert near == 0 and alone.is_visible() and alone.inner_text() == "no particle is near"
    assert "no particle within" in text
    near, text = shown(visit, visit.central())
    assert near > 0 and alone.is_hidden() and f"; {near} particles within " in text
    unit = "Å" if axes[0].startswith("motion") else "σ"
    assert text.endswith(f" {unit}.")


def test_the_count_is_that_of_the_particles_around_the_latents(visit: Visit) -> None:
    near, text = shown(visit, visit.central())
    z, half = visit.ask("() => [dynaflex.explore.z, dynaflex.explore.half]")
    with np.load(visit.run / "latents.npz") as stored:
        own = stored["mean"][stored["half"] == half]
    away = np.linalg.norm(own - np.array(z), axis=1)
    # The radius is said with two digits.
    within = float(text.split(" within ")[1].split(" ")[0])
    assert (away < 0.95 * within).sum() <= near <= (away < 1.06 * within).sum()


def test_an_export_says_which_of_its_frames_are_alone(visit: Visit) -> None:
    visit.page.click("#clear-path")
    visit.page.fill("#frames", "5")
    visit.page.keyboard.press("Tab")
    visit.page.click("[data-tool=path]")
    for number, place in enumerate((visit.central(), FAR), 1):
        visit.page.mouse.click(*visit.at(*place))
        visit.until("(n) => dynaflex.explore.path.movie.nodes.length === n", number)
    visit.until("() => document.querySelectorAll('#plot circle.node').length === 2")
    fills = visit.ask("() => [...document.querySelectorAll('#plot circle.node')].map((e) => getComputedStyle(e).fill)")
    # As the markers of a path in ChimeraX.
    expected = [255 * np.array(rgb(colour)) for colour in frame_colours(2)]
    np.testing.assert_allclose([[int(part) for part in re.findall(r"\d+", fill)] for fill in fills], expected, atol=1)
    with zipfile.ZipFile(io.BytesIO(visit.export("chimerax"))) as archive:
        near = list(csv.DictReader(io.StringIO(archive.read("particles_near.csv").decode())))
        script = archive.read("motion.cxc").decode()
    alone = [row["map"] for row in near if row["particles"] == "0"]
    assert 0 < len(alone) < 5 and alone[-1] == "frame_004.mrc" and near[0]["map"] == "frame_000.mrc"
    assert f"# no particle is near {' '.join(alone)}\n" in script
    told = f"no particle is near {len(alone)} of its 5 frames"
    visit.until("(told) => saved.textContent.includes(told)", told)
    with zipfile.ZipFile(io.BytesIO(visit.export("frames"))) as archive:
        first, last = (
            np.asarray(Image.open(io.BytesIO(archive.read(f"frame_00{number}.png"))).convert("L"), int)
            for number in (0, 4)
        )
    # Words in the corner of the last, nothing in that of the first.
    assert np.ptp(first[8:30, 10:150]) < 10 < 100 < np.ptp(last[8:30, 10:150])


def test_nothing_went_wrong(visit: Visit) -> None:
    assert visit.troubles == []
