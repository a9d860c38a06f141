"""Images of particles in a real browser: of a selection, page by page, low-passed, averaged; and if they are gone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from survival import rewrite
from viewer.browsing import Visit, next_link, visited
from viewer.conftest import Explorer


@pytest.fixture(scope="module")
def visit(browser: Any, finished_run: Path, start: Callable[..., Explorer]) -> Visit:
    explorer = start(finished_run)
    seen = visited(browser, finished_run, explorer, next_link(explorer))
    seen.settled()
    return seen


def opened(visit: Visit) -> None:
    before = visit.ask("() => dynaflex.gallery.shown")
    visit.page.click("[data-panel=particles]")
    visit.until("(n) => dynaflex.gallery.shown > n", before)


def changed(visit: Visit, act: Callable[[], object]) -> None:
    before = visit.ask("() => dynaflex.gallery.shown")
    act()
    visit.until("(n) => dynaflex.gallery.shown > n", before)


def captions(visit: Visit) -> list[str]:
    return list(visit.page.locator("#gallery figcaption").all_inner_texts())


def rows(visit: Visit) -> list[int]:
    return [int(re.match(r"row (\d+) ", text)[1]) for text in captions(visit)]


def test_without_a_selection_it_shows_the_particles_near_the_conformation(visit: Visit) -> None:
    opened(visit)
    assert visit.page.input_value("#gallery-of") == "near"
    assert visit.page.locator("#gallery figure").count() == 24
    assert visit.page.inner_text("#page-words") == "1–24 of 96 nearest to the conformation"
    z, half = visit.ask("() => [dynaflex.explore.z, dynaflex.explore.half]")
    with np.load(visit.run / "latents.npz") as stored:
        mine = stored["half"] == half
        away = np.linalg.norm(stored["mean"][mine] - np.array(z), axis=1)
        expected = stored["index"][mine][np.argsort(away)][:24]
    assert len(set(rows(visit)) & set(expected.tolist())) >= 23
    for text in captions(visit):
        assert re.fullmatch(rf"row \d+ · half {half} · cc -?0\.\d\d", text), text


def test_it_is_low_passed_at_first_to_where_the_halves_agree(visit: Visit) -> None:
    resolution = json.loads((visit.run / "fsc.json").read_text())["deformed"]["resolution"]["0.5"]
    assert float(visit.page.inner_text("#low-pass-value").split()[0]) == pytest.approx(resolution, rel=0.02)
    before = visit.pixels("#gallery figure:nth-child(1) canvas:nth-child(1)")

    def blur() -> None:
        visit.ask(
            "() => { const e = document.getElementById('low-pass'); e.value = 5; e.dispatchEvent(new Event('input')) }"
        )

    changed(visit, blur)
    assert visit.page.inner_text("#low-pass-value") == "32 Å"
    after = visit.pixels("#gallery figure:nth-child(1) canvas:nth-child(1)")
    roughness = [np.abs(np.diff(shot[..., 0], axis=1)).mean() / shot[..., 0].std() for shot in (before, after)]
    assert roughness[1] < 0.8 * roughness[0]


def test_the_pages_of_a_selection_hold_all_of_it_once(visit: Visit) -> None:
    visit.page.click("[data-panel=explore]")
    visit.page.click("[data-tool=lasso]")
    visit.lasso(0.02, 0.3)
    mask = visit.ask("() => [...dynaflex.explore.selection.mask]")
    with np.load(visit.run / "latents.npz") as stored:
        expected = stored["index"][np.array(mask, bool)].tolist()
    assert len(expected) > 30
    opened(visit)
    assert visit.page.input_value("#gallery-of") == "selection" and visit.page.is_disabled("#page-back")
    found = rows(visit)
    while visit.page.is_enabled("#page-on"):
        changed(visit, lambda: visit.page.click("#page-on"))
        found += rows(visit)
    assert found == expected
    last = (len(expected) - 1) // 24 * 24
    assert visit.page.inner_text("#page-words") == f"{last + 1}–{len(expected)} of {len(expected)} selected"
    changed(visit, lambda: visit.page.click("#page-back"))
    assert rows(visit) == expected[last - 24 : last]


def test_class_averages_say_how_many_images_each_is_of(visit: Visit) -> None:
    assert visit.page.locator("#page-on").is_visible()
    changed(visit, lambda: visit.page.select_option("#gallery-as", "averages"))
    assert visit.page.locator("#page-on").is_hidden(), "there are no pages of averages"
    counts = [int(text.split()[0]) for text in captions(visit)]
    total = visit.ask("() => dynaflex.explore.selection.mask.reduce((a, b) => a + b, 0)")
    assert sum(counts) == total and counts == sorted(counts, reverse=True)
    assert f"of {total} particles, by viewing direction" in visit.page.inner_text("#page-words")
    changed(visit, lambda: visit.page.select_option("#gallery-of", "near"))
    assert sum(int(text.split()[0]) for text in captions(visit)) == 96
    changed(visit, lambda: visit.page.select_option("#gallery-as", "images"))


def test_a_click_on_an_image_shows_its_conformation(visit: Visit) -> None:
    row = rows(visit)[3]
    visit.ask("() => { dynaflex.explore.times.length = 0 }")
    visit.page.locator("#gallery figure").nth(3).click()
    visit.settled()
    assert visit.page.locator("#explore").is_visible()
    with np.load(visit.run / "latents.npz") as stored:
        (place,) = np.flatnonzero(stored["index"] == row)
        np.testing.assert_allclose(visit.ask("() => dynaflex.explore.z"), stored["mean"][place], atol=1e-5)


def test_nothing_went_wrong(visit: Visit) -> None:
    assert visit.troubles == []


def test_stacks_that_are_gone_are_asked_for_and_can_be_given(
    browser: Any, simulated: Path, finished_run: Path, tmp_path: Path, start: Callable[..., Explorer]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    provenance = json.loads((run / "provenance.json").read_text())
    provenance["inputs"] |= {"particles": str(tmp_path / "gone" / "particles.star"), "datadir": str(tmp_path / "gone")}
    rewrite(run, "provenance.json", lambda _: json.dumps(provenance))
    for options in ((), ("--datadir", simulated)):
        explorer = start(run, *options)
        seen = visited(browser, run, explorer, next_link(explorer))
        seen.page.click("[data-panel=particles]")
        seen.until("() => document.getElementById('gallery').children.length")
        if options:
            assert seen.page.locator("#gallery figure").count() == 24
        else:
            text = seen.page.inner_text("#gallery")
            assert "cannot be read" in text and f"dynaflex view {run} --datadir FOLDER" in text
            # The rest of the page does not need them.
            seen.page.click("[data-panel=maps]")
            seen.until("() => dynaflex.maps.views?.left?.meshed")
        seen.page.close()
