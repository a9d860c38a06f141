"""What analyze found, in a real browser: its axes, colours and clusters, and paths where the particles are dense."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dynaflex.io.star import read_star
from dynaflex.products.analyse import analyse, write_analysis
from dynaflex.products.names import ANALYSIS, PARTICLES
from dynaflex.run.directory import Run
from dynaflex.viewer.particles.planes import Planes
from dynaflex.viewer.particles.table import ParticleTable
from viewer.browsing import Visit, visited
from viewer.conftest import Explorer, make_hollow

TABLE = f"{ANALYSIS}/{PARTICLES}"


def analysed(source: Path, run: Path) -> Path:
    """A copy of a run with an analysis, in which a ring stands for UMAP's plane."""
    shutil.copytree(source, run)
    found = analyse(Run.open(run), half=1, clusters=4, frames=3, with_umap=False, segments=None)
    write_analysis(found, run / "analysis", None)
    turn = 5.0 * np.argsort(np.argsort(found.space.motion[:, 0])) / len(found.space.rows)
    table = pd.read_csv(run / TABLE)
    table.assign(umap1=np.cos(turn), umap2=np.sin(turn)).to_csv(run / TABLE, index=False)
    return run


@pytest.fixture(scope="module")
def visit(
    browser: Any, finished_run: Path, tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Explorer]
) -> Visit:
    run = analysed(finished_run, tmp_path_factory.mktemp("analysed") / "run")
    explorer = start(run)
    return visited(browser, run, explorer, f"http://127.0.0.1:{explorer.port}/?token={explorer.token}")


def table(visit: Visit) -> ParticleTable:
    return ParticleTable(Run(visit.run), False)


def shown_axes(visit: Visit, x: str, y: str) -> None:
    visit.page.select_option("#x", x)
    visit.page.select_option("#y", y)
    visit.until("(words) => dynaflex.explore.plot.labels.join() === words", axis_titles(visit, x, y))


def axis_titles(visit: Visit, *names: str) -> str:
    return ",".join(visit.ask("(name) => dynaflex.explore.particles.title(name)", name) for name in names)


def test_clusters_are_colours_with_a_legend(visit: Visit) -> None:
    visit.page.select_option("#colour", "kmeans")
    visit.until("() => document.querySelectorAll('#legend .entry').length === 4")
    assert visit.page.locator("#legend .entry").all_inner_texts() == ["1", "2", "3", "4"]
    colours = visit.ask(
        "() => [...document.querySelectorAll('#legend .class')].map((i) => getComputedStyle(i).background)"
    )
    assert len(set(colours)) == 4
    visit.page.select_option("#colour", "density")
    visit.until("() => legend.querySelector('b').textContent === 'dense region'")
    labels = table(visit).values("density")
    entries = visit.page.locator("#legend .entry").all_inner_texts()
    known = [str(int(label)) for label in np.unique(labels[~np.isnan(labels)])]
    # Particles in no region are grey, whatever the others are.
    assert entries == known + ["none"] * bool(np.isnan(labels).any())


@pytest.mark.parametrize(("column", "words"), [("misfit", "misfit, relative"), ("gain", "gain by motion, nats")])
def test_colours_tell_how_well_a_particle_is_explained(visit: Visit, column: str, words: str) -> None:
    before = visit.page.input_value("#colour")
    visit.page.select_option("#colour", column)
    visit.until("(words) => legend.textContent.startsWith(words)", words)
    values = np.array(visit.ask("() => [...dynaflex.explore.bar.colourValues]"))
    with np.load(visit.run / "motion.npz") as stored:
        order = np.argsort(np.argsort(table(visit).half, kind="stable"))
        np.testing.assert_allclose(values, stored[column][order], rtol=1e-6)
    assert np.ptp(values) > 0
    visit.page.select_option("#colour", before)


def test_many_classes_have_colours_of_their_own(visit: Visit) -> None:
    found = visit.ask(
        "async () => { const { classColour } = await import('/static/colours.js');"
        " return Array.from({ length: 36 }, (_, i) => classColour(i).join()) }"
    )
    assert len(set(found)) == 36


@pytest.mark.parametrize("names", [("motion1", "motion2"), ("umap1", "umap2")])
def test_a_place_without_latents_shows_the_particles_around_it(visit: Visit, names: tuple[str, str]) -> None:
    visit.settled()
    shown_axes(visit, *names)
    visit.page.select_option("#half", "1")
    visit.until("() => legend.textContent.includes('200 particles')")
    visit.settled()
    visit.page.click("[data-tool=show]")
    visit.page.mouse.click(*visit.at(0.7, 0.4))
    visit.until("() => place.textContent.includes('the mean of the 8 nearest particles of half 1')")
    visit.settled()
    x, y = visit.ask("() => dynaflex.explore.at")
    left, top = visit.ask("([x, y]) => dynaflex.explore.plot.toPixels(x, y)", [x, y])
    width, height = visit.ask("() => [plot.clientWidth, plot.clientHeight]")
    assert (left / width, top / height) == pytest.approx((0.7, 0.4), abs=0.01)
    particles = table(visit)
    own = np.flatnonzero(particles.half == 1)
    column = "async (name) => [...await dynaflex.explore.particles.values(name)]"
    places = [np.array(visit.ask(column, name))[own] for name in names]
    distance = np.hypot(places[0] - x, places[1] - y)
    expected = particles.mean[own[np.argsort(distance)[:8]]].mean(axis=0)
    np.testing.assert_allclose(visit.ask("() => dynaflex.explore.z"), expected, atol=1e-4)


def test_axes_of_motion_show_both_halves_and_those_of_a_half_show_that(visit: Visit) -> None:
    shown_axes(visit, "motion1", "motion2")
    visit.until("() => legend.textContent.includes('400 particles')")
    shown_axes(visit, "component1", "component2")
    visit.until("() => legend.textContent.includes('200 particles')")
    assert visit.page.input_value("#half") == "1" and "axes of its own" not in visit.page.inner_text("#legend")
    # Who wants both in axes of their own can have them, and is told.
    visit.page.select_option("#half", "0")
    visit.until("() => legend.textContent.includes('400 particles; each half has axes of its own')")
    visit.page.select_option("#half", "1")
    visit.until("() => legend.textContent.includes('200 particles')")


def test_a_cluster_is_selected_combined_and_saved(visit: Visit) -> None:
    kmeans = table(visit).values("kmeans")
    sizes = {label: int((kmeans == label).sum()) for label in (1, 2, 3)}
    visit.page.select_option("#cluster", "kmeans 2")
    visit.until("(n) => selected.textContent.startsWith(`${n} particles`)", sizes[2])
    other = int(((kmeans == 2) & (table(visit).half == 2)).sum())
    words = f"{sizes[2] - other} of half 1, {other} of half 2; {other} not shown"
    assert words in visit.page.inner_text("#selected") and visit.page.locator("#other-half").is_hidden()
    visit.page.select_option("#colour", "kmeans")
    visit.until("() => document.querySelectorAll('#legend .entry').length === 4")
    visit.page.locator("#legend .entry").nth(0).click(modifiers=["Shift"])
    visit.until("(n) => selected.textContent.startsWith(`${n} particles`)", sizes[1] + sizes[2])
    visit.page.select_option("#combine", "remove")
    visit.page.select_option("#cluster", "kmeans 2")
    visit.until("(n) => selected.textContent.startsWith(`${n} particles`)", sizes[1])
    visit.page.select_option("#combine", "add")
    visit.page.locator("#legend .entry").nth(2).click()
    visit.until("(n) => selected.textContent.startsWith(`${n} particles`)", sizes[1] + sizes[3])
    visit.page.fill("#selection-name", "two clusters")
    visit.page.click("#save")
    visit.until("() => saved.textContent.includes('selection_001.star')")
    saved = visit.run / "selections" / "selection_001.star"
    rows = np.sort(table(visit).rows[np.isin(kmeans, [1, 3])])
    expected = read_star(visit.run / "particles.star").blocks["particles"]["rlnImageName"].iloc[rows]
    assert read_star(saved).blocks["particles"]["rlnImageName"].tolist() == expected.tolist()
    how = json.loads(saved.with_suffix(".json").read_text())["how"]
    assert how == "k-means cluster 2; k-means cluster 1; without k-means cluster 2; k-means cluster 3"
    visit.page.select_option("#combine", "replace")


def test_a_lasso_with_shift_adds_to_the_selection(visit: Visit) -> None:
    def lasso(left: float, right: float) -> int:
        visit.lasso(left, right)
        return int(visit.page.inner_text("#selected").split(" ")[0])

    visit.page.click("[data-tool=lasso]")
    everyone = lasso(0.01, 0.99)
    first = lasso(0.01, 0.4)
    visit.page.keyboard.down("Shift")
    both = lasso(0.6, 0.99)
    visit.page.keyboard.up("Shift")
    assert 0 < first < both < everyone
    assert lasso(0.6, 0.99) == both - first
    visit.page.click("#clear-selection")
    visit.page.click("[data-tool=show]")


def test_a_path_leads_where_the_particles_are(visit: Visit) -> None:
    shown_axes(visit, "component1", "component2")
    visit.page.select_option("#axis", "dense")
    visit.until("() => dynaflex.explore.path.movie.nodes.length === 33")
    nodes = np.array(visit.ask("() => dynaflex.explore.path.movie.nodes"))
    particles = table(visit)
    own = particles.mean[particles.half == 1]
    along = (nodes - particles.components[1].mean) @ particles.components[1].axes[0]
    low, high = np.percentile(particles.values("component1")[particles.half == 1], [20, 80])
    assert along[0] < low and along[-1] > high
    far = np.sort(np.linalg.norm(own[None] - nodes[:, None], axis=2), axis=1)[:, 5]
    usual = np.sort(np.linalg.norm(own[None] - own[:, None], axis=2), axis=1)[:, 5]
    assert np.median(far) < np.median(usual) and visit.page.locator("#plot .path").count() == 1
    assert visit.page.locator("#plot circle.node").count() == 0


def test_a_path_through_dense_regions_goes_by_the_clicked_places(visit: Visit) -> None:
    visit.page.click("#clear-path")
    visit.page.click("[data-tool=path]")
    for number, place in enumerate(((0.35, 0.5), (0.65, 0.5)), 1):
        visit.page.mouse.click(*visit.at(*place))
        visit.until("(n) => dynaflex.explore.path.stops.length === n", number)
    visit.until("() => dynaflex.explore.path.movie.nodes.length === 2")
    visit.page.select_option("#axis", "dense")
    visit.until("() => dynaflex.explore.path.movie.nodes.length === 33")
    particles = table(visit)
    own = particles.mean[particles.half == 1]
    ends = np.array(
        visit.ask("() => { const { nodes } = dynaflex.explore.path.movie; return [nodes[0], nodes.at(-1)] }")
    )
    for end, stop in zip(ends, visit.ask("() => dynaflex.explore.path.stops"), strict=True):
        nearest = own[np.linalg.norm(own - stop, axis=1).argmin()]
        usual = np.sort(np.linalg.norm(own - nearest, axis=1))[16]
        assert np.linalg.norm(end - nearest) < usual
    visit.until("() => document.querySelectorAll('#plot circle.node').length === 2")
    # Another click leads the path on.
    visit.page.mouse.click(*visit.at(0.5, 0.6))
    visit.until("() => document.querySelectorAll('#plot circle.node').length === 3")
    visit.settled()


def test_a_path_that_is_cleared_while_it_is_shown_is_gone(visit: Visit) -> None:
    visit.ask("""async () => {
      const { path, view } = dynaflex.explore;
      const show = view.show.bind(view);
      let shown;
      const slow = new Promise((resolve) => { shown = resolve; });
      view.show = async (message) => { path.clear(); await show(message); shown(); };
      document.getElementById('axis').value = 'component1';
      document.getElementById('axis').dispatchEvent(new Event('change'));
      await slow;
      view.show = show;
    }""")
    assert visit.ask("() => message.hidden || message.textContent") is True
    visit.page.select_option("#axis", "dense")
    visit.until("() => dynaflex.explore.path.movie.nodes.length === 33")


def test_a_path_is_shown_in_a_layout_too(visit: Visit) -> None:
    shown_axes(visit, "umap1", "umap2")
    nodes = visit.ask("() => dynaflex.explore.path.movie.nodes")
    planes = Planes(table(visit), None)
    expected = planes.places(1, ("umap1", "umap2"), np.array(nodes, dtype=np.float32))
    # The plane changes axis by axis, and the line with each of them.
    visit.until(
        "([x, y]) => { const at = dynaflex.explore.plot.marks.line[0]; return Math.hypot(at[0] - x, at[1] - y) < 0.1 }",
        expected[0].tolist(),
    )
    line = np.array(visit.ask("() => dynaflex.explore.plot.marks.line"))
    # The mean of eight places on a ring lies within it.
    assert (np.hypot(*line.T) < 1.01).all()
    assert np.median(np.abs(line - expected)) < 1e-3
    visit.ask("() => dynaflex.explore.path.movie.show(12)")
    visit.until("() => place.textContent.includes('placed where the 8 particles')")
    visit.page.click("#clear-path")
    visit.until("() => document.querySelectorAll('#plot .path, #plot .node').length === 0")
    shown_axes(visit, "component1", "component2")


def test_nothing_went_wrong(visit: Visit) -> None:
    assert visit.troubles == []
    assert visit.ask("() => message.hidden || message.textContent") is True


def test_without_an_analysis_the_menus_say_how_to_make_one(
    browser: Any, tmp_path: Path, start: Callable[..., Explorer]
) -> None:
    run = make_hollow(tmp_path / "run")
    explorer = start(run)
    seen = visited(browser, run, explorer, f"http://127.0.0.1:{explorer.port}/?token={explorer.token}")
    last = seen.page.locator("#x option").last
    assert "dynaflex analyze RUN --umap" in last.inner_text() and last.is_disabled()
    assert seen.page.locator("#cluster").is_disabled()
    assert "analyze" in str(seen.page.locator("#cluster").get_attribute("title"))
    (run / TABLE).parent.mkdir()
    (run / TABLE).write_text("row,half,latent1\n1,1,0.5\n")
    seen.until("() => message.textContent.includes('new results')")
    seen.page.reload()
    seen.until("() => document.body.dataset.ready === 'yes'")
    assert "not used" in seen.page.inner_text("#message")
    assert seen.page.locator("#cluster").is_disabled()
    seen.page.close()
