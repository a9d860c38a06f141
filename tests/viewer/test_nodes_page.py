"""The button that asks the particles whether they show a path, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from viewer.browsing import Visit, visited
from viewer.conftest import Explorer

SHOWN = (
    "() => !document.getElementById('maps').hidden && dynaflex.maps.views?.right.mesh && dynaflex.nodes.seen?.length"
)


@pytest.fixture(scope="module")
def visit(browser: Any, finished_run: Path, start: Callable[..., Explorer]) -> Visit:
    explorer = start(finished_run)
    return visited(browser, finished_run, explorer, f"http://127.0.0.1:{explorer.port}/?token={explorer.token}")


def test_a_path_is_played_beside_what_the_particles_show(visit: Visit) -> None:
    visit.until("() => dynaflex.explore.path.movie.ready")
    visit.page.click("#from-particles")
    visit.until(SHOWN)
    visit.until("() => document.getElementById('right-title').textContent.includes('particles')")
    assert visit.page.input_value("#left-map") == "path-left" and visit.page.input_value("#right-map") == "path-right"
    assert "carried: correlation 0." in visit.page.inner_text("#left-title")
    assert "Å at FSC 0.143" in visit.page.inner_text("#right-title")
    visit.until("() => dynaflex.nodes.node > 1")
    visit.page.click("#play-nodes")
    visit.until("() => document.getElementById('play-nodes').textContent.includes('Play')")
    seen = []
    for node in (0, 8):
        visit.page.locator("#node").evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input')) }", node)
        visit.until(f"() => document.getElementById('left-title').textContent.includes('Node {node + 1} of 9')")
        visit.until("() => !dynaflex.maps.views.right.surface.busy && !dynaflex.maps.views.left.surface.busy")
        seen.append(visit.pixels("#right-pane"))
    assert np.abs(seen[0].astype(float) - seen[1]).mean() > 1.0
    assert not visit.troubles


def test_the_work_can_be_stopped(visit: Visit) -> None:
    visit.page.click("[data-panel=explore]")
    button = visit.page.locator("#from-particles")
    assert button.inner_text() == "From particles"
    button.click()
    visit.until("() => document.getElementById('from-particles').textContent === 'Stop'")
    button.click()
    visit.until("() => document.getElementById('from-particles').textContent === 'From particles'")
    assert visit.ask("() => !dynaflex.nodes.told.working && !document.getElementById('explore').hidden")
    assert not visit.troubles
