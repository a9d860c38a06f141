"""The surface in a real browser: its colours, arrows, Gaussians and mesh; with WebGL and without."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from PIL import Image

from dynaflex.io.mrc import read_map, write_map
from dynaflex.palettes import SCALES
from dynaflex.products.analyse import place_of_box
from dynaflex.results.volumes import level_at_rest
from dynaflex.run.ledger import Ledger
from dynaflex.viewer.opened import OpenedRun
from scripts import arrows, commands, levels, value
from scripts import opened as opened_by
from viewer.browsing import Visit
from viewer.conftest import Explorer
from viewer.surfaces import PLACE, choose, near, opened

ARROW = (200, 80, 45)


@pytest.fixture(scope="module")
def visit(
    browser: Any, finished_run: Path, tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Explorer]
) -> Visit:
    run = tmp_path_factory.mktemp("surface") / "run"
    shutil.copytree(finished_run, run)
    # So small a molecule is resolved to the Nyquist limit everywhere: nothing would be seen of a scale.
    with Ledger(run).writing("maps/local_resolution.mrc") as path:
        stored = read_map(path)
        across = np.linspace(12.0, 24.0, stored.box, dtype=np.float32)
        write_map(path, np.where(stored.data > 0.0, across, 0.0).astype(np.float32), stored.pixel_size)
    return opened(browser, run, start)


def test_only_what_there_is_can_be_chosen(visit: Visit) -> None:
    options = visit.ask("() => [...document.getElementById('surface-colour').options].map((one) => one.value)")
    assert options == ["displacement", "rms_displacement", "deformation_error", "local_resolution", "none"]
    assert visit.page.locator("#drawn-as option").all_inner_texts() == ["surface", "Gaussians", "both", "slices"]


@pytest.mark.parametrize("colour", ["displacement", "deformation_error", "local_resolution"])
def test_colours_have_a_scale_with_a_unit_and_limits_to_edit(visit: Visit, colour: str) -> None:
    first = choose(visit, colour=colour)
    legend = visit.page.inner_text("#surface .legend")
    low, high = visit.ask("() => dynaflex.explore.view.limits")
    assert ", Å" in legend and low < high and visit.page.is_visible("#most")
    assert visit.page.is_visible("#least") == (colour == "local_resolution")
    fifth = low + 0.2 * (high - low)
    visit.page.fill("#most", str(fifth))
    visit.until("(fifth) => Math.abs(dynaflex.explore.view.limits[1] - fifth) < 1e-6", fifth)
    visit.ask("() => dynaflex.explore.view.paint(true)")
    stronger = visit.surface()
    assert (np.abs(stronger - first).max(axis=2) > 20).mean() > 0.005
    # The limit stays when another conformation of the same half comes, and what is below it is no limit.
    visit.page.fill("#most", str(low - 1.0))
    visit.page.mouse.click(*visit.at(*visit.ask(PLACE, 0.6)))
    visit.settled()
    assert visit.ask("() => dynaflex.explore.view.limits[1]") == pytest.approx(fifth)
    visit.page.fill("#most", str(high))
    visit.page.mouse.click(*visit.at(*visit.ask(PLACE, 0.95)))
    visit.settled()


def test_without_colours_there_is_no_scale(visit: Visit) -> None:
    choose(visit, colour="none")
    assert not visit.page.is_visible("#surface .legend") and not visit.page.is_visible("#most")


def test_arrows_are_as_long_as_their_key_says(visit: Visit) -> None:
    without = choose(visit)
    assert not visit.page.is_visible("#surface .arrow-key") and near(without, ARROW) < 50
    choose(visit, arrows=True)
    lengths = []
    for times in (1, 3):
        visit.page.fill("#times", str(times))
        visit.ask("() => dynaflex.explore.view.paint(true)")
        lengths.append(near(visit.surface(), ARROW))
        text = visit.page.inner_text("#surface .arrow-key")
        moved = float(text.split(" Å moved")[0])
        assert ("drawn ×3" in text) == (times == 3)
        pixels = visit.ask("() => document.querySelector('#surface .arrow-key i').getBoundingClientRect().width")
        per_pixel = visit.ask(
            "() => { const { camera, canvas } = dynaflex.explore.view;"
            " return camera.perPixel({ width: canvas.clientWidth, height: canvas.clientHeight }) }"
        )
        assert pixels * per_pixel == pytest.approx(moved * times, rel=0.03)
    assert lengths[1] > 1.5 * lengths[0] > 100
    visit.page.fill("#times", "")
    assert visit.ask("() => dynaflex.explore.view.drawnTimes") >= 1


def test_gaussians_are_painted_where_they_are(visit: Visit) -> None:
    picture = choose(visit, show="parts", colour="displacement")
    assert "200 Gaussians" in visit.page.inner_text("#surface .caption")
    where = visit.ask("""() => {
      const { view } = dynaflex.explore;
      const places = view.message.data[view.message.layers.indexOf('parts')];
      const m = view.camera.matrix(view.canvas.width / view.canvas.height);
      const at = (row, i) => m[row] * places[i] + m[4 + row] * places[i + 1] + m[8 + row] * places[i + 2] + m[12 + row];
      return Array.from({ length: places.length / 3 }, (_, i) => [
        (0.5 + 0.5 * at(0, 3 * i)) * view.canvas.clientWidth, (0.5 - 0.5 * at(1, 3 * i)) * view.canvas.clientHeight]);
    }""")
    inside = np.array(where)[:, ::-1].round().astype(int)
    kept = ((inside >= 2) & (inside < np.array(picture.shape[:2]) - 2)).all(axis=1)
    there = np.abs(picture[inside[kept][:, 0], inside[kept][:, 1]] - 255).max(axis=1) > 15
    assert kept.mean() > 0.9 and there.mean() > 0.98
    both = choose(visit, show="both", colour="displacement")
    assert (both.min(axis=2) < 250).sum() > (picture.min(axis=2) < 250).sum()


def test_a_movie_shows_what_the_menus_say(visit: Visit) -> None:
    choose(visit, arrows=True)
    visit.page.fill("#frames", "3")
    visit.page.keyboard.press("Tab")
    visit.page.select_option("#axis", "component1")
    visit.until("() => dynaflex.explore.path.movie.ready")
    pictures = []
    for drawn in (True, False):
        choose(visit, arrows=drawn)
        with zipfile.ZipFile(io.BytesIO(visit.export("frames"))) as archive, archive.open("frame_002.png") as stored:
            pictures.append(np.asarray(Image.open(stored).convert("RGB"), int))
    assert near(pictures[0], ARROW) > 300 > near(pictures[1], ARROW)
    visit.page.click("#clear-path")


def test_chimerax_gets_colours_and_arrows(visit: Visit, tmp_path: Path) -> None:
    visit.page.select_option("#axis", "component1")
    visit.until("() => dynaflex.explore.path.movie.ready")
    choose(visit, colour="displacement", arrows=True)
    visit.page.fill("#times", "2")
    with zipfile.ZipFile(io.BytesIO(visit.export("chimerax"))) as archive:
        archive.extractall(tmp_path)
    first = [float(value) for value in (tmp_path / "latents.csv").read_text().splitlines()[0].split(",")]
    opened = OpenedRun(visit.run)
    _, high = opened.stage().decoder(1).range_of("displacement").limits
    with mrcfile.open(tmp_path / "frame_000.mrc") as density, mrcfile.open(tmp_path / "colour_000.mrc") as colour:
        assert density.header.origin == colour.header.origin and density.data.shape == colour.data.shape
        live = opened.stage().decoder(1).conformation(np.array(first), "fine")
        assert live.quantity is not None
        inside = colour.data[density.data > opened.stage().decoder(1).level]
        expected = live.quantity[live.density > opened.stage().decoder(1).level]
        # A voxel that has the level to rounding may be on either side of it.
        assert abs(len(inside) - len(expected)) <= 2
        shares = np.linspace(0.0, 1.0, 101)
        np.testing.assert_allclose(np.quantile(inside, shares), np.quantile(expected, shares), atol=high / 200)
    drawn, center = arrows(tmp_path / "arrows_000.bild"), place_of_box(opened.run)
    moves = opened.stage().decoder(1).arrows_to(np.array(first))
    start = np.array([moves[np.linalg.norm(moves[:, :3] + center - one[:3], axis=1).argmin()] for one in drawn])
    assert len(drawn) > 20
    np.testing.assert_allclose(drawn[:, :3], start[:, :3] + center, atol=0.01)
    np.testing.assert_allclose(drawn[:, 3:], start[:, :3] + center + 2 * start[:, 3:], atol=0.01)
    script = tmp_path / "motion_coloured.cxc"
    sampled = commands(script, "color sample")
    maps, colours = ([f"{kind}_{number:03d}.mrc" for number in range(len(sampled))] for kind in ("frame", "colour"))
    models = [name for (name,) in opened_by(script)]
    assert [models[int(one[2][1:]) - 1] for one in sampled] == maps
    assert [models[int(value(one, "map")[1:]) - 1] for one in sampled] == colours
    limits = visit.ask("() => dynaflex.explore.view.limits")
    for one in sampled:
        assert value(one, "palette") == ":".join(SCALES["motion"])
        assert [float(limit) for limit in value(one, "range").split(",")] == pytest.approx(limits)
    assert "2 times as long" in script.read_text() and len(commands(script, "key")) == 1
    assert set(models) == {path.name for path in tmp_path.iterdir() if path.suffix in (".mrc", ".bild")}
    level = visit.ask("() => dynaflex.explore.view.level")
    assert [*levels(script), *levels(tmp_path / "motion.cxc")] == pytest.approx([level] * (len(maps) + 1), rel=1e-5)
    # Nobody has touched the threshold: it is that of the series that ``volumes`` writes.
    assert level == pytest.approx(level_at_rest(opened.run, opened.stage().trained(1)), rel=1e-5)
    visit.page.fill("#times", "")
    visit.page.click("#clear-path")


def test_menus_do_not_lose_the_newest_conformation(visit: Visit) -> None:
    choose(visit)
    visit.page.mouse.click(*visit.at(0.2, 0.4))
    visit.page.select_option("#surface-colour", "displacement")
    visit.until("() => dynaflex.explore.view.message.colour && !dynaflex.explore.view.surface.busy")
    left, top = visit.ask("() => dynaflex.explore.plot.toPixels(...dynaflex.explore.at)")
    width, height = visit.ask("() => [plot.clientWidth, plot.clientHeight]")
    assert (left / width, top / height) == pytest.approx((0.2, 0.4), abs=0.01)


def test_asking_for_what_is_not_there_is_refused(visit: Visit) -> None:
    z = ",".join(map(str, visit.ask("() => dynaflex.explore.z")))
    asked = f"conformation?half=1&z={z}"
    for query, expected in (
        (f"{asked}&colour=../config", 404), (f"{asked}&colour=density", 404), (f"{asked}&more=latents", 404),
        (f"{asked}&more=../config", 404), (asked, 200), ("parts?half=1", 200), ("parts?half=3", 400),
        ("parts?half=x", 400),
    ):  # fmt: skip
        assert visit.ask("async (path) => (await fetch(path)).status", f"api/{query}") == expected, query
    # The browser itself says that something was not found.
    visit.troubles[:] = [one for one in visit.troubles if "404" not in one and "400" not in one]


def test_all_went_well(visit: Visit) -> None:
    assert visit.troubles == []


def test_a_mesh_is_shown_by_segment_without_webgl_too(
    chromium: Callable[..., Any], brief_of: Callable[..., tuple[Path, Any]], start: Callable[..., Explorer]
) -> None:
    run, outcome = brief_of("flex")
    assert outcome.code == 0, outcome.err
    plain = chromium("--disable-3d-apis")
    try:
        visit = opened(plain, run, start)
        assert visit.ask("() => dynaflex.explore.view.painter.kind") == "canvas"
        assert "No WebGL" in visit.page.inner_text("#surface .note")
        assert visit.page.locator("#drawn-as option").all_inner_texts() == ["surface", "mesh", "both", "slices"]
        surface = choose(visit, colour="displacement")
        mesh = choose(visit, show="parts", colour="displacement")
        assert "vertices" in visit.page.inner_text("#surface .caption")
        # The mesh encloses the molecule.
        assert (mesh.min(axis=2) < 240).sum() > (surface.min(axis=2) < 240).sum() > 1000
        choose(visit, show="both", colour="displacement", arrows=True)
        # One segment needs no colours of its own; had it two, they would be offered.
        assert visit.page.locator("#surface-colour option[value=segment]").count() == 0
        visit.ask("() => { dynaflex.explore.view.parts.segments = 2 }")
        choose(visit, show="parts", colour="displacement")
        choose(visit, show="parts", colour="segment")
        assert "segment of the mesh" in visit.page.inner_text("#surface .legend")
        assert not visit.page.is_visible("#limits")
        assert visit.troubles == []
    finally:
        plain.close()
