"""The page in a real browser: looked at, dragged, played, lassoed, exported; nothing leaves this machine."""

from __future__ import annotations

import csv
import io
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from PIL import Image

from dynaflex.io.star import read_star
from dynaflex.products.analyse import place_of_box
from dynaflex.run.directory import Run
from patience import eventually
from scripts import commands
from scripts import opened as opened_by
from survival import rewrite
from viewer.browsing import Visit, next_link, visited
from viewer.conftest import Explorer


@pytest.fixture(scope="module")
def visit(
    browser: Any, finished_run: Path, tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Explorer]
) -> Visit:
    run = tmp_path_factory.mktemp("seen") / "run"
    shutil.copytree(finished_run, run)
    harmful = "<img/src=x/onerror=alert(1)>"
    rewrite(run, "particles.star", lambda table: table.replace("micrographs/mic_00001.mrc", harmful))
    explorer = start(run)
    return visited(browser, run, explorer, f"http://127.0.0.1:{explorer.port}/?token={explorer.token}")


def test_the_link_opens_the_page_and_leaves_no_token(visit: Visit) -> None:
    assert visit.page.url == f"http://127.0.0.1:{visit.explorer.port}/"
    assert visit.ask("() => document.cookie") == ""
    assert "DynaMight" in visit.page.inner_text("#run-name")
    assert visit.ask("() => dynaflex.explore.view.painter.kind") == "webgl"
    assert visit.ask("() => dynaflex.explore.view.mesh.indices.length") > 1000


def test_a_click_shows_the_conformation_there(visit: Visit) -> None:
    visit.settled()
    before = visit.surface()
    visit.page.mouse.click(*visit.at(0.15, 0.5))
    visit.settled()
    visit.until("() => dynaflex.explore.filled")
    assert np.abs(visit.surface() - before).max(axis=2).astype(bool).mean() > 0.01
    x, y = visit.ask("() => dynaflex.explore.at")
    left, top = visit.ask("([x, y]) => dynaflex.explore.plot.toPixels(x, y)", [x, y])
    width, height = visit.ask("() => [plot.clientWidth, plot.clientHeight]")
    assert (left / width, top / height) == pytest.approx((0.15, 0.5), abs=0.01)


def test_a_drag_asks_for_one_coarse_conformation_at_a_time(visit: Visit) -> None:
    visit.settled()
    visit.ask("() => { dynaflex.explore.times.length = 0 }")
    visit.requests.clear()
    visit.page.mouse.move(*visit.at(0.2, 0.5))
    visit.page.mouse.down()
    visit.page.mouse.move(*visit.at(0.8, 0.5), steps=60)
    visit.page.mouse.up()
    visit.settled()
    asked = [url for url in visit.requests if "/api/conformation" in url]
    assert 2 <= len(asked) < 60 and "size=fine" in asked[-1] and all("size=coarse" in url for url in asked[:-1])
    sizes = [time["size"] for time in visit.ask("() => dynaflex.explore.times")]
    assert sizes.count("fine") == 1 and len(sizes) == len(asked)


def test_the_threshold_needs_no_server(visit: Visit) -> None:
    visit.requests.clear()
    areas = []
    for value in (0.5, 1.0, 2.0):
        visit.ask("() => { dynaflex.explore.thresholdTime = 0 }")
        visit.ask("(v) => { threshold.value = v; threshold.dispatchEvent(new Event('input')) }", value)
        visit.until("() => dynaflex.explore.thresholdTime > 0")
        areas.append(visit.ask("() => dynaflex.explore.view.mesh.indices.length"))
    assert areas[0] > areas[1] > areas[2] > 0
    visit.ask("() => { threshold.value = 1; threshold.dispatchEvent(new Event('input')) }")
    assert not [url for url in visit.requests if "/api/progress" not in url]


def test_the_surface_is_coloured_by_displacement(visit: Visit) -> None:
    visit.page.mouse.click(*visit.at(0.9, 0.5))
    visit.settled()
    coloured = visit.surface()
    visit.page.select_option("#surface-colour", "none")
    visit.until("() => !dynaflex.explore.view.message.colour")
    time.sleep(0.3)
    plain = visit.surface()
    visit.page.select_option("#surface-colour", "displacement")
    visit.until("() => dynaflex.explore.view.message.colour")
    warm, cold = ((seen[40:, :, 0] - seen[40:, :, 2] > 60).sum() for seen in (coloured, plain))
    assert warm > 200 > cold  # where it moves, and nowhere without; a notice above may be red
    assert "Å" in visit.page.inner_text("#surface .legend")


def test_a_path_along_an_axis_is_played_and_exported(visit: Visit) -> None:
    visit.page.fill("#frames", "5")
    visit.page.keyboard.press("Tab")
    visit.page.click("#clear-path")
    visit.page.select_option("#axis", "component1")
    visit.until("() => dynaflex.explore.path.movie.nodes.length === 17")
    visit.page.click("#play")
    visit.until("() => dynaflex.explore.path.movie.index >= 3")
    visit.page.click("#play")
    visit.until("() => !dynaflex.explore.path.movie.playing")
    with Image.open(io.BytesIO(visit.export("gif"))) as gif:
        assert gif.n_frames == 8 and min(gif.size) > 200
        shots = []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            shots.append(np.asarray(gif.convert("RGB"), int))
    assert np.abs(shots[0] - shots[4]).max() > 50
    assert np.abs(shots[1] - shots[7]).max() == 0  # there and back again
    with zipfile.ZipFile(io.BytesIO(visit.export("frames"))) as pictures:
        assert pictures.testzip() is None
        assert pictures.namelist() == [*(f"frame_{number:03d}.png" for number in range(5)), "make_mp4.txt"]
        with Image.open(io.BytesIO(pictures.read("frame_000.png"))) as first:
            # The GIF has 256 colours of all.
            assert np.abs(np.asarray(first.convert("RGB"), int) - shots[0]).mean() < 3


def test_the_maps_of_a_path_are_those_of_the_server(visit: Visit, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(visit.export("chimerax"))) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    (maps,) = opened_by(tmp_path / "motion.cxc")
    assert maps == [f"frame_{number:03d}.mrc" for number in range(5)]
    assert len(commands(tmp_path / "motion.cxc", "vseries play")) == 1
    center = place_of_box(Run.open(visit.run))
    latents = [[float(value) for value in row] for row in csv.reader((tmp_path / "latents.csv").open())]
    assert len(latents) == 5
    for number in (0, 4):
        query = "half=1&size=fine&z=" + ",".join(map(str, latents[number]))
        message = visit.ask(
            "async (query) => { const { getBinary } = await import('/static/message.js');"
            " const m = await getBinary(`api/conformation?${query}`);"
            " const sum = m.data[0].reduce((a, b) => a + b, 0);"
            " return { origin: m.origin, step: m.step, pixel: m.pixel_size, sum } }",
            query,
        )
        with mrcfile.open(tmp_path / f"frame_{number:03d}.mrc") as file:
            assert float(file.voxel_size.x) == pytest.approx(message["pixel"], rel=1e-5)
            assert file.data.sum(dtype=np.float64) == pytest.approx(message["sum"] * message["step"], rel=1e-3)
            corner = np.argwhere(file.data > 0).min(axis=0)[::-1] * message["pixel"]
            origin = np.array([file.header.origin.x, file.header.origin.y, file.header.origin.z])
            assert (np.abs(origin + corner - center - message["origin"]) <= 2.1 * message["pixel"]).all()


def test_a_path_is_drawn_by_clicks(visit: Visit) -> None:
    visit.page.click("#clear-path")
    visit.page.click("[data-tool=path]")
    for number, place in enumerate(((0.3, 0.4), (0.5, 0.6), (0.7, 0.4)), 1):
        visit.page.mouse.click(*visit.at(*place))
        visit.until("(n) => dynaflex.explore.path.movie.nodes.length === n", number)
    visit.until("() => document.querySelectorAll('#plot circle.node').length === 3")
    ends = visit.ask(
        "() => { const { movie } = dynaflex.explore.path; movie.frames = 24;"
        " return [movie.latents(0), movie.latents(23)] }"
    )
    nodes = visit.ask("() => dynaflex.explore.path.movie.nodes")
    np.testing.assert_allclose(ends, [nodes[0], nodes[2]], rtol=1e-6)
    visit.page.click("#clear-path")


def test_a_lasso_is_saved_as_star(visit: Visit) -> None:
    visit.page.click("[data-tool=lasso]")
    visit.lasso(0.02, 0.5)
    name = "<img src=x onerror=alert(1)> left"
    visit.page.fill("#selection-name", name)
    visit.page.click("#save")
    visit.until("() => saved.textContent.includes('selection_001.star')")
    x = visit.ask("() => dynaflex.explore.plot.toValues(plot.clientWidth / 2, 0)[0]")
    along = np.array(visit.ask("async () => [...await dynaflex.explore.particles.values('motion1')]"))
    with np.load(visit.run / "latents.npz") as stored:
        expected = stored["index"][along < x]
    found = read_star(visit.run / "selections" / "selection_001.star").blocks["particles"]
    names = read_star(visit.run / "particles.star").blocks["particles"]["rlnImageName"].iloc[expected]
    assert abs(len(found) - len(expected)) <= 2
    assert len(set(found["rlnImageName"]) ^ set(names)) <= 2
    visit.page.reload()
    visit.until("() => document.body.dataset.ready === 'yes' && saved.textContent.includes('1 saved')")
    # What a file says is text, never a part of the page.
    assert name in visit.page.inner_text("#saved") and visit.page.locator("#explore img").count() == 0


def test_keys_themes_and_widths(visit: Visit) -> None:
    visit.ask("() => document.activeElement.blur()")
    visit.page.keyboard.press("1")
    for theme in ("dark", "light"):
        visit.ask("(wanted) => { if (document.documentElement.dataset.theme === wanted) theme.click() }", theme)
        visit.page.keyboard.press("t")
        assert visit.ask("() => document.documentElement.dataset.theme") == theme
        dark = theme == "dark"
        eventually(lambda dark=dark: (visit.surface()[2, 2].max() < 80) if dark else visit.surface()[2, 2].min() > 200)
    visit.page.keyboard.press("?")
    assert visit.page.locator("#keys").is_visible()
    visit.page.keyboard.press("Escape")
    for panel in ("1", "2", "3", "4"):
        visit.page.keyboard.press(panel)
        visit.until("() => document.documentElement.scrollWidth <= innerWidth")
    visit.page.keyboard.press("1")


def test_nothing_left_this_machine_and_nothing_went_wrong(visit: Visit) -> None:
    home = f"http://127.0.0.1:{visit.explorer.port}/"
    blob = f"blob:{home}"
    assert [url for url in visit.requests if not url.startswith((home, blob, "data:"))] == []
    assert visit.troubles == []


def test_surfaces_are_closed_and_right(visit: Visit) -> None:
    """A ball and a torus that cut ambiguous cubes too: area and volume as geometry has them, no open edge."""
    found = visit.ask("""async () => {
      const { isosurface } = await import('/static/isosurface.js');
      const n = 40;
      const measure = (f) => {
        const values = new Float32Array(n * (n + 3) * (n + 5));
        for (let z = 0, i = 0; z < n; z++) for (let y = 0; y < n + 3; y++) for (let x = 0; x < n + 5; x++, i++) {
          values[i] = f(x - n / 2 - 1.3, y - n / 2 + 0.2, z - n / 2 + 0.4);
        }
        const { positions: p, normals, indices } = isosurface(values, [n, n + 3, n + 5], 0, [0, 0, 0], 2, null);
        let [area, volume, agree] = [0, 0, 0];
        const edges = new Map();
        for (let t = 0; t < indices.length; t += 3) {
          const [a, b, c] = [0, 1, 2].map((k) => [...p.subarray(3 * indices[t + k], 3 * indices[t + k] + 3)]);
          const [u, v] = [b, c].map((q) => q.map((value, k) => value - a[k]));
          const cross = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
          area += Math.hypot(...cross) / 2;
          volume += (a[0] * cross[0] + a[1] * cross[1] + a[2] * cross[2]) / 6;
          const at = 4 * indices[t];
          agree += cross[0] * normals[at] + cross[1] * normals[at + 1] + cross[2] * normals[at + 2] >= 0 ? 1 : 0;
          for (let k = 0; k < 3; k++) {
            const [i, j] = [indices[t + k], indices[t + (k + 1) % 3]];
            edges.set(`${i},${j}`, (edges.get(`${i},${j}`) ?? 0) + 1);
          }
        }
        const other = (key) => edges.get(key.split(',').reverse().join(','));
        const open = [...edges].filter(([key, count]) => count !== 1 || other(key) !== 1);
        return { area, volume, open: open.length, agree: agree / (indices.length / 3), count: indices.length };
      };
      const random = Float32Array.from({ length: 97 }, (_, i) => Math.sin(12.9898 * i) * 43758.5453 % 1);
      return {
        ball: measure((x, y, z) => 14.3 - Math.hypot(x, y, z)),
        torus: measure((x, y, z) => 4 - Math.hypot(Math.hypot(x, y) - 10, z)),
        noise: measure((x, y, z) => (Math.hypot(x, y, z) > 15 ? -1
          : random[Math.abs(Math.round(7 * x + 13 * y + 31 * z)) % 97])),
      };
    }""")
    ball, torus, noise = found["ball"], found["torus"], found["noise"]
    assert ball["volume"] == pytest.approx(4 / 3 * np.pi * 28.6**3, rel=0.01)
    assert ball["area"] == pytest.approx(4 * np.pi * 28.6**2, rel=0.01)
    assert torus["volume"] == pytest.approx(2 * np.pi**2 * 20 * 8**2, rel=0.03)
    assert torus["area"] == pytest.approx(4 * np.pi**2 * 20 * 8, rel=0.03)
    assert ball["open"] == torus["open"] == noise["open"] == 0 and noise["count"] > 10_000
    assert ball["agree"] == torus["agree"] == 1.0


def test_small_islands_are_left_out_and_can_be_shown(visit: Visit) -> None:
    """Of strips of 200, five and three triangles, only the last is smaller than a fiftieth of the first."""
    found = visit.ask("""async () => {
      const { withoutIslands } = await import('/static/islands.js');
      const three = (i) => [i, i + 1, i + 2];
      const strip = (from, count) => Array.from({ length: count }, (_, i) => three(from + i)).flat();
      const parts = [strip(0, 200), strip(300, 5), strip(400, 3)];
      const kept = withoutIslands(Uint32Array.from([...parts[2], ...parts[0], ...parts[1]]), 500);
      return [[...kept], [...parts[0], ...parts[1]]];
    }""")
    assert found[0] == found[1]
    counts = []
    for wanted in ("check", "uncheck"):
        getattr(visit.page, wanted)("#tidy")
        visit.ask("() => threshold.dispatchEvent(new Event('input'))")
        time.sleep(0.5)
        counts.append(visit.ask("() => dynaflex.explore.view.mesh.indices.length"))
    assert counts[0] <= counts[1]


def test_without_webgl_the_surface_is_drawn_all_the_same(visit: Visit, chromium: Callable[..., Any]) -> None:
    visit.page.close()
    link = next_link(visit.explorer)
    plain = chromium("--disable-3d-apis")
    try:
        seen = visited(plain, visit.run, visit.explorer, link)
        assert seen.ask("() => dynaflex.explore.view.painter.kind") == "canvas"
        assert "No WebGL" in seen.page.inner_text("#surface")
        seen.settled()
        picture = seen.surface()
        assert 0.02 < (np.abs(picture - picture[2, 2]).max(axis=2) > 20).mean() < 0.9
    finally:
        plain.close()
