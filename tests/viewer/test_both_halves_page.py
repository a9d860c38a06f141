"""Selections that a refinement can use: a lasso takes both halves, and one of a half alone is told and completed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaflex.io.star import read_star
from viewer.browsing import Visit, visited
from viewer.conftest import Explorer


@pytest.fixture(scope="module")
def visit(
    browser: Any, finished_run: Path, tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Explorer]
) -> Visit:
    run = tmp_path_factory.mktemp("halves") / "run"
    shutil.copytree(finished_run, run)
    explorer = start(run)
    return visited(browser, run, explorer, f"http://127.0.0.1:{explorer.port}/?token={explorer.token}")


def told(visit: Visit) -> tuple[int, dict[int, int]]:
    """How many particles the bar says are selected, in all and of each half."""
    text = visit.page.inner_text("#selected")
    found = re.match(r"([\d,]+) particles", text)
    assert found is not None, text
    return int(found[1]), {int(half): int(count) for count, half in re.findall(r"([\d,]+) of half (\d)", text)}


def saved(visit: Visit, name: str) -> tuple[np.ndarray, str]:
    """The half of each particle that was stored, and how it was chosen."""
    visit.page.fill("#selection-name", name)
    visit.page.click("#save")
    visit.until("() => document.getElementById('selection-name').value === ''")
    file = max((visit.run / "selections").glob("*.star"))
    table = read_star(file).blocks["particles"]
    return table["rlnRandomSubset"].astype(int).to_numpy(), json.loads(file.with_suffix(".json").read_text())["how"]


def test_a_lasso_in_the_first_view_takes_both_halves_and_says_how_many_of_each(visit: Visit) -> None:
    visit.page.click("[data-tool=lasso]")
    visit.lasso(0.02, 0.5)
    total, halves = told(visit)
    assert halves.keys() == {1, 2} and sum(halves.values()) == total > 50
    # The halves are random, and so is the region to them.
    assert min(halves.values()) > 0.35 * total and visit.page.locator("#other-half").is_hidden()
    half, how = saved(visit, "left")
    assert {number: int((half == number).sum()) for number in (1, 2)} == halves
    assert how == "lasso in motion 1, motion 2"


def test_a_selection_of_one_half_is_told_and_completed_by_one_click(visit: Visit) -> None:
    visit.page.select_option("#x", "component1")
    visit.page.select_option("#y", "component2")
    visit.until("() => dynaflex.explore.plot.labels.join() === 'component 1, σ,component 2, σ'")
    visit.lasso(0.02, 0.4)
    text, button = visit.page.inner_text("#selected"), visit.page.locator("#other-half")
    assert "half 1 only: a refinement needs both" in text and "warning" in visit.page.get_attribute(
        "#selected", "class"
    )
    alone, _ = told(visit)
    assert button.is_visible() and button.inner_text() == "Add the same of half 2"
    mask = "() => [...dynaflex.explore.selection.mask]"
    before = np.array(visit.ask(mask), bool)
    button.click()
    visit.until("() => selected.textContent.includes('of half 2')")
    total, halves = told(visit)
    assert halves[1] == alone and button.is_hidden() and halves[2] > 0.5 * alone and total == sum(halves.values())
    after = np.array(visit.ask(mask), bool)
    assert (after[before]).all() and after.sum() == total
    # In motion, which both share, what was added lies where the lasso was.
    along = np.array(visit.ask("async () => [...await dynaflex.explore.particles.values('motion1')]"))
    half = np.array(visit.ask("() => [...dynaflex.explore.particles.halves]"))
    first, second = (along[after & (half == number)] for number in (1, 2))
    spread = along.std()
    assert abs(np.median(first) - np.median(second)) < 0.25 * spread
    assert second.min() > first.min() - 0.3 * spread and second.max() < first.max() + 0.3 * spread
    _, how = saved(visit, "completed")
    assert how == "lasso in component 1, component 2; the same region of half 2"


def test_half_2_is_completed_by_half_1(visit: Visit) -> None:
    visit.page.select_option("#half", "2")
    visit.until("() => legend.textContent.includes('200 particles')")
    visit.lasso(0.6, 0.98)
    assert "half 2 only" in visit.page.inner_text("#selected")
    visit.page.click("#other-half")
    visit.until("() => selected.textContent.includes('of half 1')")
    visit.page.click("#clear-selection")
    assert visit.page.inner_text("#selected") == "nothing selected"
    assert "warning" not in (visit.page.get_attribute("#selected", "class") or "")


def test_nothing_went_wrong(visit: Visit) -> None:
    assert visit.troubles == []
