"""Two maps in a real browser: side by side, one over the other, in turn, as surfaces and as slices."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaflex.io.mrc import read_map
from patience import eventually
from viewer.browsing import Visit, visited
from viewer.conftest import Explorer, make_hollow

MESHED = (
    "() => { const { views, busy } = dynaflex.maps;"
    " return views && !busy && Object.values(views).every((view) => view.meshed && !view.surface.busy) }"
)


@pytest.fixture(scope="module")
def visit(browser: Any, finished_run: Path, start: Callable[..., Explorer]) -> Visit:
    explorer = start(finished_run)
    seen = visited(browser, finished_run, explorer, f"http://127.0.0.1:{explorer.port}/?token={explorer.token}")
    seen.page.mouse.click(*seen.at(*seen.central()))
    seen.settled()
    seen.page.click("#keep")
    assert "kept as conformation 1" in seen.page.inner_text("#saved")
    seen.page.click("[data-panel=maps]")
    seen.until(MESHED)
    return seen


def chosen(visit: Visit, **menus: str) -> None:
    for name, value in menus.items():
        visit.page.select_option(f"#{name.replace('_', '-')}", value)
    visit.until(MESHED)


def pixels(visit: Visit, element: str = "#right-pane") -> np.ndarray:
    time.sleep(0.2)
    return visit.pixels(element)


def test_all_maps_and_what_was_kept_can_be_put_beside_each_other(visit: Visit) -> None:
    words = visit.page.locator("#left-map option").all_inner_texts()
    assert words == [
        "rigid", "corrected for the motion", "half 1, rigid", "half 1, corrected for the motion", "half 2, rigid",
        "half 2, corrected for the motion", "conformation 1",
    ]  # fmt: skip
    assert visit.page.locator("#right-map option").all_inner_texts() == words
    assert visit.page.input_value("#left-map") == "rigid" and visit.page.input_value("#right-map") == "corrected"
    assert "Å at FSC 0.143" in visit.page.inner_text("#right-title")
    for name in ("rigid1", "kept1"):
        chosen(visit, right_map=name)
        assert visit.ask("() => dynaflex.maps.views.right.mesh.indices.length") > 1000
    assert visit.page.inner_text("#right-title").startswith("Conformation 1: half ")
    chosen(visit, right_map="corrected")


def test_both_cameras_move_together(visit: Visit) -> None:
    before = pixels(visit)
    visit.page.mouse.move(*visit.at(0.4, 0.4, "left-pane"))
    visit.page.mouse.down()
    visit.page.mouse.move(*visit.at(0.7, 0.5, "left-pane"), steps=4)
    visit.page.mouse.up()
    assert (np.abs(pixels(visit) - before).max(axis=2) > 30).mean() > 0.02
    visit.page.locator("#left-pane canvas.surface").dblclick(position={"x": 20, "y": 20})


@pytest.mark.parametrize("colour", ["rms_displacement", "deformation_error", "local_resolution"])
def test_colours_mean_the_same_on_both_sides(visit: Visit, colour: str) -> None:
    chosen(visit, maps_colour=colour, right_map="kept1")
    visit.until("(id) => Object.values(dynaflex.maps.views).every((view) => view.message.colour?.id === id)", colour)
    legends = visit.page.locator("#maps .legend")
    assert legends.nth(0).inner_text() == legends.nth(1).inner_text() and "Å" in legends.nth(0).inner_text()
    chosen(visit, maps_colour="", right_map="corrected")
    visit.until("() => Object.values(dynaflex.maps.views).every((view) => !view.message.colour)")


def test_displacement_colours_what_moves_most(visit: Visit) -> None:
    """Of the hinge, the arm is far from still and the rest hardly moves."""
    chosen(visit, maps_colour="rms_displacement")
    visit.until("() => Object.values(dynaflex.maps.views).every((view) => view.message.colour)")
    shot = pixels(visit)
    warm = shot[..., 0] - shot[..., 2] > 60
    plain = (np.ptp(shot, axis=2) < 25) & (np.abs(shot - shot[2, 2]).max(axis=2) > 40)
    assert warm.sum() > 300 and plain.sum() > 300
    chosen(visit, maps_colour="")


def test_one_over_the_other_is_either_or_both(visit: Visit) -> None:
    chosen(visit, arrangement="over", right_map="kept1")
    seen = {}
    for share in ("0", "1", "0.5"):
        visit.ask("(value) => { share.value = value; share.dispatchEvent(new Event('input')) }", share)
        seen[share] = pixels(visit)
    apart = np.abs(seen["0"] - seen["1"]).max(axis=2) > 40
    assert apart.mean() > 0.01
    mixed = (seen["0"] + seen["1"]) / 2
    assert np.abs(seen["0.5"] - mixed)[20:-60, 20:-20].mean() < 3
    box = [visit.page.locator(f"#{side}-pane").bounding_box() for side in ("left", "right")]
    assert box[0] == box[1]


def test_they_are_swapped_by_key_by_button_and_by_themselves(visit: Visit) -> None:
    share = "() => Number(document.getElementById('share').value)"
    visit.ask("() => document.activeElement.blur()")
    visit.page.keyboard.press("x")
    first = visit.ask(share)
    left = pixels(visit)
    visit.page.keyboard.press("x")
    assert {first, visit.ask(share)} == {0, 1}
    assert (np.abs(pixels(visit) - left).max(axis=2) > 40).mean() > 0.01
    visit.page.click("#swap")
    assert visit.ask(share) == first and np.abs(pixels(visit) - left).mean() < 1
    visit.page.check("#flicker")
    found = set()
    deadline = time.monotonic() + 20
    while len(found) < 2 and time.monotonic() < deadline:
        found.add(visit.ask(share))
        time.sleep(0.1)
    assert found == {0, 1}
    visit.page.uncheck("#flicker")
    before = visit.ask(share)
    time.sleep(1.5)
    assert visit.ask(share) == before
    chosen(visit, arrangement="beside", right_map="corrected")


def plane(visit: Visit, source: str, axis: str, at: float) -> dict[str, Any]:
    """A plane of a side, as the page has it: its densities by row and column, and where these are."""
    found = visit.ask(
        f"async ([axis, at]) => {{ const p = await {source}.plane(axis, at);"
        " return { ...p, values: [...p.values].map((v) => p.least + v * p.step) } }",
        [axis, at],
    )
    return {**found, "values": np.array(found["values"]).reshape(found["height"], found["width"])}


def test_slices_show_the_map_where_it_is(visit: Visit) -> None:
    chosen(visit, maps_drawn_as="slices", left_map="corrected")
    visit.until("() => dynaflex.maps.slices.left.drawn > 0 && dynaflex.maps.slices.right.drawn > 0")
    assert visit.page.locator("#left-pane .slices").is_visible() and visit.page.locator("#maps-threshold").is_hidden()
    stored = read_map(visit.run / "maps" / "map.mrc")
    z, y, x = np.unravel_index(stored.data.argmax(), stored.data.shape)
    places = {
        name: float((at - stored.box // 2) * stored.pixel_size) for name, at in zip("xyz", (x, y, z), strict=True)
    }
    visit.ask("(places) => dynaflex.maps.slices.left.slicing.move(places)", places)
    visit.until(
        "(places) => Object.entries(places).every(([k, v]) => dynaflex.maps.slices.left.slicing.at[k] === v)", places
    )
    for axis, across, (i, j) in (("z", 0, (y, x)), ("y", 1, (z, x)), ("x", 2, (z, y))):
        found = plane(visit, "dynaflex.maps.slices.left.source", axis, places[axis])
        expected = np.take(stored.data, (z, y, x)[across], axis=across)
        np.testing.assert_allclose(found["values"], expected, atol=1e-3 * np.ptp(stored.data))
        assert found["values"].argmax() == i * stored.box + j
    # The densest place lies where the planes cross, x to the right and y up, and is the brightest of the picture.
    shot = pixels(visit, "#left-pane figure:nth-child(1) canvas").mean(axis=2)
    reach, center = visit.ask(
        "() => { const { reach, center } = dynaflex.maps.slices.left.slicing; return [reach, center] }"
    )
    scale = min(shot.shape) / (2 * reach)
    column = shot.shape[1] / 2 + (places["x"] - center[0]) * scale
    row = shot.shape[0] / 2 - (places["y"] - center[1]) * scale
    around = shot[int(row) - 4 : int(row) + 5, int(column) - 4 : int(column) + 5]
    assert around.max() >= np.percentile(shot, 99.5)


def test_slices_of_a_conformation_lie_as_those_of_maps(visit: Visit) -> None:
    """At rest a conformation is nearly the map: its planes agree in place and sense."""
    rest = json.loads((visit.run / "alignment.json").read_text())["half1"]
    visit.ask(
        """async (z) => {
          const { getBinary } = await import('/static/message.js');
          const { VolumePlanes } = await import('/static/slices_view.js');
          window.still = new VolumePlanes(await getBinary(`api/conformation?half=1&size=fine&z=${z}`));
        }""",
        ",".join(map(str, rest)),
    )
    for axis in "zyx":
        at = visit.ask("(axis) => dynaflex.maps.slices.left.slicing.at[axis]", axis)
        still, whole = (plane(visit, name, axis, at) for name in ("still", "dynaflex.maps.slices.left.source"))
        rows = still["bottom"] + still["pixel"] * np.arange(still["height"])
        columns = still["left"] + still["pixel"] * np.arange(still["width"])
        i = np.rint((rows - whole["bottom"]) / whole["pixel"]).astype(int)
        j = np.rint((columns - whole["left"]) / whole["pixel"]).astype(int)
        # Voxels of another size may reach beyond the map's last ones, where nothing is.
        i, j = (there.clip(0, size - 1) for there, size in zip((i, j), whole["values"].shape, strict=True))
        inside = still["values"] > 0.1 * still["values"].max()
        assert inside.sum() > 30

        def agreement(other: np.ndarray, inside: np.ndarray = inside, shown: np.ndarray = still["values"]) -> float:
            return float(np.corrcoef(shown[inside], other[inside])[0, 1])

        expected = whole["values"][np.ix_(i, j)]
        assert agreement(expected) > 0.6
        assert agreement(expected) > max(agreement(expected[::-1]), agreement(expected[:, ::-1])) + 0.05


def test_planes_are_moved_by_slider_and_by_pointer_on_both_sides(visit: Visit) -> None:
    at = "(side) => ({ ...dynaflex.maps.slices[side].slicing.at })"
    captions = visit.page.locator("#right-pane figcaption")
    visit.page.locator("#left-pane .sliders input").nth(0).evaluate(
        "(slider) => { slider.value = Number(slider.min) + 0.3 * (slider.max - slider.min);"
        " slider.dispatchEvent(new Event('input')) }"
    )
    eventually(lambda: visit.ask(at, "left") == visit.ask(at, "right"))
    moved = visit.ask(at, "right")
    eventually(lambda: captions.nth(0).inner_text().startswith("z = "))
    before = pixels(visit, "#right-pane figure:nth-child(2) canvas")
    box = visit.page.locator("#left-pane figure:nth-child(1) canvas").bounding_box()
    visit.page.mouse.click(box["x"] + 0.6 * box["width"], box["y"] + 0.3 * box["height"])
    eventually(lambda: visit.ask(at, "right") != moved)
    clicked = visit.ask(at, "right")
    reach, center = visit.ask(
        "() => { const { reach, center } = dynaflex.maps.slices.left.slicing; return [reach, center] }"
    )
    side = min(box["width"], box["height"])
    assert clicked["x"] == pytest.approx(center[0] + 0.1 * box["width"] / side * 2 * reach, abs=1.0)
    assert clicked["y"] == pytest.approx(center[1] + 0.2 * box["height"] / side * 2 * reach, abs=1.0)
    assert clicked["z"] == moved["z"]
    eventually(lambda: np.abs(pixels(visit, "#right-pane figure:nth-child(2) canvas") - before).max() > 20)
    chosen(visit, maps_drawn_as="surface", left_map="rigid")


def test_the_conformation_is_shown_in_slices_too_and_they_follow_it(visit: Visit) -> None:
    visit.page.click("[data-panel=explore]")
    visit.page.select_option("#drawn-as", "slices")
    assert visit.page.locator("#surface .slices").is_visible() and visit.page.locator("#threshold").is_hidden()
    before = pixels(visit, "#surface figure:nth-child(1) canvas")
    visit.ask("() => { dynaflex.explore.times.length = 0 }")
    visit.page.mouse.click(*visit.at(0.97, 0.04))
    visit.settled()
    assert np.abs(pixels(visit, "#surface figure:nth-child(1) canvas") - before).max() > 40
    # Also here the page says that nobody is near.
    assert visit.page.locator("#surface .alone").is_visible()
    visit.page.select_option("#drawn-as", "surface")
    assert visit.page.locator("#surface .slices").is_hidden() and visit.page.locator("#threshold").is_visible()


def test_nothing_went_wrong(visit: Visit) -> None:
    assert visit.troubles == []


def test_without_maps_the_panel_says_so(browser: Any, tmp_path: Path, start: Callable[..., Explorer]) -> None:
    run = make_hollow(tmp_path / "run")
    explorer = start(run)
    seen = visited(browser, run, explorer, f"http://127.0.0.1:{explorer.port}/?token={explorer.token}")
    seen.page.click("[data-panel=maps]")
    seen.until("() => document.getElementById('left-pane').textContent.includes('There are no maps yet')")
    seen.page.select_option("#arrangement", "over")
    seen.page.select_option("#maps-drawn-as", "slices")
    seen.page.keyboard.press("x")
    # That there is no model is told, and all that goes wrong.
    assert [trouble for trouble in seen.troubles if "Failed to load" not in trouble] == []
    seen.page.close()
