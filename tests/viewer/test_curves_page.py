"""The curves in a real browser: values under the pointer, zoom that stays, and a run at work that is followed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaflex.run.ledger import Ledger
from patience import eventually
from viewer.browsing import Visit, visited
from viewer.conftest import Explorer, begin

LIKELIHOOD, MOVES = "Log-likelihood, nats a particle", "Displacement, rms, Å"


@pytest.fixture(scope="module")
def visit(
    browser: Any, finished_run: Path, tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Explorer]
) -> Visit:
    run = tmp_path_factory.mktemp("curves") / "run"
    shutil.copytree(finished_run, run)
    explorer = start(run)
    seen = visited(browser, run, explorer, f"http://127.0.0.1:{explorer.port}/?token={explorer.token}")
    seen.page.click("[data-panel=curves]")
    seen.until("() => document.querySelectorAll('#fsc figure .u-over').length >= 1")
    seen.until("() => document.querySelectorAll('#training figure .u-over').length >= 3")
    return seen


def data(visit: Visit, title: str) -> np.ndarray:
    """The places of a figure and the values of its curves there, NaN for none."""
    return np.array(visit.ask("(title) => dynaflex.curves.plots.get(title).data", title), dtype=float)


def area(visit: Visit, title: str) -> dict[str, float]:
    """Where the curves of a figure lie on the screen."""
    over = figure(visit, title).locator(".u-over")
    over.scroll_into_view_if_needed()
    return dict(over.bounding_box())


def figure(visit: Visit, title: str) -> Any:
    return visit.page.locator("figure", has=visit.page.locator("figcaption", has_text=title))


def test_verdicts_and_correlations_are_those_of_the_run(visit: Visit) -> None:
    assert visit.page.locator("#verdicts p").count() >= 2
    stored = json.loads((visit.run / "fsc.json").read_text())
    shown = data(visit, "FSC, the whole map")
    np.testing.assert_allclose(shown[0], stored["deformed"]["frequency"])
    for row, name in ((1, "rigid"), (2, "deformed")):
        np.testing.assert_allclose(shown[row], stored[name]["corrected"])
    shaded = f"Shaded, down to {stored['claim_limit']:g} Å"
    assert shaded in figure(visit, "FSC, the whole map").inner_text()


def test_training_is_told_by_half_and_what_is_not_there_is_not_promised(visit: Visit) -> None:
    lines = [json.loads(line) for line in (visit.run / "metrics.jsonl").read_text().splitlines()]
    shown = data(visit, LIKELIHOOD)
    curves = [(half, key) for key in ("log_likelihood", "held_out_log_likelihood") for half in (1, 2)]
    assert len(shown) == 1 + len(curves)
    for row, (half, key) in enumerate(curves, 1):
        expected = {line["epoch"]: line[key] for line in lines if line["half"] == half and key in line}
        known = [place for place, epoch in enumerate(shown[0]) if int(epoch) in expected]
        np.testing.assert_allclose(shown[row, known], [expected[int(shown[0, place])] for place in known])
    words = figure(visit, LIKELIHOOD).inner_text()
    assert all(name in words for name in ("half 1", "half 2", "half 1, held out", "half 2, held out"))
    # The data loss, whose noise is learned anew all the time, is for runs that know no likelihood.
    assert visit.page.locator("figcaption", has_text="Data loss").count() == 0
    assert visit.page.locator("figcaption", has_text="Band limit").count() == 0


def test_the_pointer_reads_values_off(visit: Visit) -> None:
    shown = data(visit, MOVES)
    box = area(visit, MOVES)
    visit.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    middle = shown[0].mean()
    nearest = int(np.abs(shown[0] - middle).argmin())
    values = [text.strip() for text in figure(visit, MOVES).locator(".u-value").all_inner_texts()]
    assert float(values[0]) == pytest.approx(shown[0, nearest], abs=1)
    around = shown[1:, nearest - 1 : nearest + 2]
    for value, near in zip(values[1:], around, strict=True):
        assert near.min() - 0.01 <= float(value) <= near.max() + 0.01
    # The same epoch is read off in the other figures of the training.
    other = figure(visit, LIKELIHOOD).locator(".u-value").first.inner_text()
    assert other.strip() == values[0]


def test_a_drag_zooms_and_new_epochs_leave_it(visit: Visit) -> None:
    seen = "(title) => dynaflex.curves.plots.get(title).seen"
    whole = visit.ask(seen, MOVES)
    box = area(visit, MOVES)
    visit.page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 50)
    visit.page.mouse.down()
    visit.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 60, steps=5)
    visit.page.mouse.up()
    part = visit.ask(seen, MOVES)
    assert part[1] - part[0] == pytest.approx(0.25 * (whole[1] - whole[0]), rel=0.15)
    # Training goes on.
    Ledger(visit.run).reopen("metrics.jsonl")
    with (visit.run / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"half": 1, "epoch": 41, "data_loss": 300.0, "rms_displacement": 99.0}\n')
    visit.until("(title) => dynaflex.curves.plots.get(title).data[1].includes(99)", MOVES)
    assert visit.ask(seen, MOVES) == part
    box = area(visit, MOVES)
    visit.page.mouse.dblclick(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    visit.until("(title) => dynaflex.curves.plots.get(title).seen[1] === 41", MOVES)
    # Another line is there at once, and all of it is seen.
    with (visit.run / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"half": 1, "epoch": 45, "data_loss": 300.0, "rms_displacement": 98.0}\n')
    visit.until("(title) => dynaflex.curves.plots.get(title).seen[1] === 45", MOVES)


def test_curves_have_the_colours_of_the_page(visit: Visit) -> None:
    canvas = "figure:has(figcaption:text-is('Displacement, rms, Å')) canvas"
    for theme in ("dark", "light"):
        visit.ask("(wanted) => { if (document.documentElement.dataset.theme === wanted) theme.click() }", theme)
        visit.page.click("#theme")
        hexes = visit.ask(
            "() => ['--half1', '--half2'].map((n) => getComputedStyle(document.documentElement)"
            ".getPropertyValue(n).trim())"
        )
        for colour in hexes:
            wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
            eventually(lambda wanted=wanted: (np.abs(visit.pixels(canvas) - wanted).max(axis=2) < 12).sum() > 20)


def test_nothing_came_from_elsewhere_and_nothing_went_wrong(visit: Visit) -> None:
    home = f"http://127.0.0.1:{visit.explorer.port}/"
    assert [url for url in visit.requests if not url.startswith((home, f"blob:{home}", "data:"))] == []
    assert any("vendor/uPlot" in url for url in visit.requests) and visit.troubles == []


def test_a_run_without_latents_shows_its_training(browser: Any, tmp_path: Path, start: Callable[..., Explorer]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    begin(run, "flex")
    (run / "metrics.jsonl").write_text('{"half": 1, "epoch": 1, "data_loss": 5.0}\n{"half": 1, "epoch": 2, "data_')
    explorer = start(run)
    seen = visited(browser, run, explorer, f"http://127.0.0.1:{explorer.port}/?token={explorer.token}")
    assert "no latents yet" in seen.page.inner_text("#message")
    seen.until("() => document.querySelectorAll('#training figure').length === 1")
    assert seen.page.locator("[data-panel=explore]").is_disabled()
    assert seen.troubles == []
    seen.page.close()
