"""Fingers on the plot and on a surface, and cameras that see a molecule whole in views of any shape."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from viewer.browsing import Visit, next_link, visited
from viewer.conftest import Explorer

TABLET = {"viewport": {"width": 820, "height": 1180}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def visit(
    finished_run: Path, browser: Any, tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Explorer]
) -> Visit:
    run = tmp_path_factory.mktemp("fingers") / "run"
    shutil.copytree(finished_run, run)
    explorer = start(run)
    one = visited(browser, run, explorer, next_link(explorer), **TABLET)
    one.settled()
    return one


@pytest.fixture
def touch(visit: Visit) -> Iterator[Callable[..., None]]:
    """``touch(kind, place, place)``: fingers at places of the screen, in CSS pixels."""
    hand = visit.page.context.new_cdp_session(visit.page)

    def fingers(kind: str, *places: np.ndarray) -> None:
        points = [{"x": float(x), "y": float(y), "id": number} for number, (x, y) in enumerate(places)]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    yield fingers
    hand.detach()


def corner(visit: Visit, panel: str) -> np.ndarray:
    """Where a panel begins on the screen, in CSS pixels."""
    return np.array(
        visit.ask(
            "(id) => { const panel = document.getElementById(id); panel.scrollIntoView();"
            " const { x, y, width, height } = panel.getBoundingClientRect(); return [[x, y], [width, height]] }",
            panel,
        )
    )


def pinch(touch: Callable[..., None], middle: np.ndarray, spread: float, moved: np.ndarray) -> None:
    """Two fingers that end ``spread`` times as far apart as they began, and ``moved`` pixels away."""
    apart = np.array([30.0, 40.0])
    touch("touchStart", middle - apart)
    touch("touchStart", middle - apart, middle + apart)
    for share in np.linspace(0.0, 1.0, 7):
        now, reach = middle + share * moved, apart * (1.0 + share * (spread - 1.0))
        touch("touchMove", now - reach, now + reach)
    touch("touchEnd")


def test_two_fingers_zoom_the_plot_and_one_explores(visit: Visit, touch: Callable[..., None]) -> None:
    begin, size = corner(visit, "plot")
    inside = np.array([0.6, 0.4]) * size
    middle = begin + inside

    def values(place: np.ndarray) -> list[float]:
        return visit.ask("([x, y]) => dynaflex.explore.plot.toValues(x, y)", place.tolist())

    before, unit = values(inside), visit.ask("() => dynaflex.explore.plot.unit")
    visit.ask("() => { dynaflex.explore.times.length = 0 }")
    moved = np.array([30.0, -20.0])
    pinch(touch, middle, 2.0, moved)
    assert visit.ask("() => dynaflex.explore.plot.unit") == pytest.approx(2 * unit, rel=0.02)
    np.testing.assert_allclose(values(inside + moved), before, atol=3 / unit)
    assert visit.ask("() => [dynaflex.explore.times.length, dynaflex.explore.plot.lasso]") == [0, None]
    expected = values(inside + np.array([40.0, 0.0]))
    touch("touchStart", middle)
    for step in range(5):
        touch("touchMove", middle + np.array([10.0 * step, 0.0]))
    touch("touchEnd")
    visit.settled()
    np.testing.assert_allclose(visit.ask("() => dynaflex.explore.at"), expected, atol=3 / unit)


CAMERA = "() => { const { rotation, extent } = dynaflex.explore.view.camera; return { rotation, extent } }"
SEEN_AT = """([left, top]) => {
  const { camera, canvas } = dynaflex.explore.view;
  const view = { width: canvas.clientWidth, height: canvas.clientHeight };
  const pixel = camera.perPixel(view);
  const [right, up] = [(left - view.width / 2) * pixel, (view.height / 2 - top) * pixel];
  return camera.target.map((t, i) => t + right * camera.rotation[i] + up * camera.rotation[3 + i]);
}"""


def test_two_fingers_move_and_zoom_a_surface_and_one_turns_it(visit: Visit, touch: Callable[..., None]) -> None:
    begin, size = corner(visit, "surface")
    inside = np.array([0.4, 0.55]) * size
    before, held = visit.ask(CAMERA), visit.ask(SEEN_AT, inside.tolist())
    moved = np.array([-45.0, 25.0])
    pinch(touch, begin + inside, 1.6, moved)
    after = visit.ask(CAMERA)
    assert after["rotation"] == before["rotation"]
    assert after["extent"] == pytest.approx(before["extent"] / 1.6, rel=0.02)
    # What was between the fingers is still between them: to a pixel or two, in Å.
    np.testing.assert_allclose(
        visit.ask(SEEN_AT, (inside + moved).tolist()), held, atol=4 * before["extent"] / size.min()
    )
    touch("touchStart", begin + inside)
    for step in range(5):
        touch("touchMove", begin + inside + np.array([10.0 * step, 0.0]))
    touch("touchEnd")
    turned = visit.ask(CAMERA)
    assert turned["extent"] == after["extent"]
    # 40 pixels, a hundredth of a radian each, about the axis that points up.
    right = np.array(turned["rotation"][:3]) @ np.array(after["rotation"][:3])
    assert right == pytest.approx(np.cos(0.4), abs=1e-6)
    np.testing.assert_allclose(turned["rotation"][3:6], after["rotation"][3:6], atol=1e-6)
    visit.ask("() => dynaflex.explore.view.camera.home()")


def test_a_finger_that_stays_does_not_throw_the_surface(visit: Visit, touch: Callable[..., None]) -> None:
    begin, size = corner(visit, "surface")
    middle, apart = begin + 0.5 * size, np.array([60.0, 0.0])
    touch("touchStart", middle - apart)
    touch("touchStart", middle - apart, middle + apart)
    touch("touchMove", middle - apart, middle + 0.5 * apart)
    # The second finger is lifted; the first then moves by a pixel.
    touch("touchMove", middle - apart)
    before = visit.ask(CAMERA)
    touch("touchMove", middle - apart + 1.0)
    after = visit.ask(CAMERA)
    touch("touchEnd")
    assert np.trace(np.reshape(before["rotation"], (3, 3)).T @ np.reshape(after["rotation"], (3, 3))) > 3 - 1e-3
    visit.ask("() => dynaflex.explore.view.camera.home()")


@pytest.mark.parametrize(("width", "height"), [(820, 1180), (1180, 820), (1280, 800), (390, 844)])
def test_a_molecule_is_seen_whole(visit: Visit, width: int, height: int) -> None:
    visit.page.set_viewport_size({"width": width, "height": height})
    for panel, views in (("explore", "[dynaflex.explore.view]"), ("maps", "Object.values(dynaflex.maps.views ?? {})")):
        visit.page.click(f"[data-panel={panel}]")
        visit.until(f"() => {views}.length && {views}.every((view) => view.mesh?.positions.length)")
        reaches = visit.ask(f"""() => {views}.map((view) => {{
          const {{ width, height }} = view.canvas;
          const m = view.camera.matrix(width / height);
          const reach = [0, 0];
          const p = view.mesh.positions;
          for (let i = 0; i < p.length; i += 3) for (const axis of [0, 1]) {{
            const at = m[axis] * p[i] + m[4 + axis] * p[i + 1] + m[8 + axis] * p[i + 2] + m[12 + axis];
            reach[axis] = Math.max(reach[axis], Math.abs(at));
          }}
          return reach;
        }})""")
        for reach in reaches:
            assert max(reach) < 1.0, (panel, reach)
            assert max(reach) > 0.4, (panel, reach)


def test_all_went_well(visit: Visit) -> None:
    assert visit.troubles == []
