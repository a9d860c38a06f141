"""A run at work, in a real browser: latents and a conformation as checkpoints come, and what to do if it stops."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from viewer.browsing import Visit, next_link, visited
from viewer.conftest import Explorer
from viewer.in_training import AFTER, another_epoch, stop, unfinished


@pytest.fixture(scope="module")
def visit(
    browser: Any, finished_run: Path, tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Explorer]
) -> Visit:
    run = unfinished(finished_run, tmp_path_factory.mktemp("training") / "my run", {1: 20})
    explorer = start(run)
    return visited(browser, run, explorer, next_link(explorer), reduced_motion="no-preference")


def epochs(run: Path) -> int:
    """How many half 1 has: tests that add some may have been run by another process, on a page of its own."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return max(int(line["epoch"]) for line in lines if line["half"] == 1)


def test_latents_and_a_conformation_are_there_before_the_run_is_done(visit: Visit) -> None:
    visit.until("() => dynaflex.explore.path.movie.playing")
    assert "200 particles" in visit.page.inner_text("#legend")
    assert visit.ask("() => dynaflex.explore.view.mesh.indices.length") > 500
    visit.until('() => place.textContent.includes("the model\'s own density")')
    visit.until("() => document.getElementById('state').textContent")
    assert visit.page.inner_text("#state") == "training half 1, epoch 20 of 40, about 30 min left"
    assert visit.page.locator("#message").is_hidden()


def test_a_new_checkpoint_is_shown_without_a_reload_and_goes_on_playing(visit: Visit) -> None:
    visit.ask("() => { window.before = true; dynaflex.explore.path.movie.stop() }")
    visit.page.click("#play")
    visit.until("() => dynaflex.explore.path.movie.playing")
    values = "async () => [...await dynaflex.explore.particles.values('latent1')]"
    before, nodes = np.array(visit.ask(values)), visit.ask("() => dynaflex.explore.path.movie.nodes")
    another_epoch(visit.run, 1, 1.1)
    visit.until("() => document.getElementById('state').textContent.includes('epoch 21 of 40')")
    visit.until(
        "(nodes) => { const now = dynaflex.explore.path.movie.nodes; return now.length && now[0][0] !== nodes[0][0] }",
        nodes,
    )
    np.testing.assert_allclose(visit.ask(values), 1.1 * before, rtol=1e-5)
    visit.until("() => dynaflex.explore.path.movie.playing")
    assert visit.ask("() => window.before") is True


def test_what_a_hand_was_at_stays(visit: Visit) -> None:
    visit.ask("() => { window.before = true }")
    visit.page.click("#play")
    visit.until("() => !dynaflex.explore.path.movie.playing")
    visit.page.select_option("#x", "latent1")
    visit.page.select_option("#y", "latent2")
    visit.until("() => dynaflex.explore.plot.labels.join() === 'latent 1, σ,latent 2, σ'")
    visit.page.click("#clear-path")
    visit.page.mouse.click(*visit.at(*visit.central()))
    visit.settled()
    frame = visit.ask("() => [...dynaflex.explore.view.camera.rotation, dynaflex.explore.view.camera.extent]")
    another_epoch(visit.run, 1, 0.9)
    now = f"epoch {epochs(visit.run)} of 40"
    visit.until("(now) => document.getElementById('state').textContent.includes(now)", now)
    time.sleep(1.0)
    assert visit.ask("() => dynaflex.explore.axes") == ["latent1", "latent2"]
    assert visit.ask("() => [...dynaflex.explore.view.camera.rotation, dynaflex.explore.view.camera.extent]") == frame
    assert not visit.ask("() => dynaflex.explore.path.movie.playing") and visit.ask("() => window.before") is True


def test_after_a_stop_the_last_state_stays_and_the_command_that_goes_on_is_said(visit: Visit) -> None:
    stop(visit.run)
    visit.until("() => !document.getElementById('message').hidden")
    text = visit.page.inner_text("#message")
    assert f"stopped: half 1, epoch {epochs(visit.run)} of 40" in text
    assert shlex.split(text.split("It goes on with: ")[1]) == ["dynaflex", "resume", str(visit.run)]
    assert visit.page.inner_text("#state") == "" and visit.ask("() => dynaflex.explore.view.mesh.indices.length") > 500


def test_when_it_is_done_the_page_begins_again(visit: Visit, finished_run: Path) -> None:
    shutil.rmtree(visit.run / "checkpoints")
    for name in ("checkpoints", "maps"):
        shutil.copytree(finished_run / name, visit.run / name, dirs_exist_ok=True)
    with visit.page.expect_navigation():
        for name in (*AFTER, "metrics.jsonl", "files.json"):
            shutil.copy(finished_run / name, visit.run / name)
    visit.until("() => window.before === undefined && document.body.dataset.ready === 'yes'")
    assert "400 particles" in visit.page.inner_text("#legend") and visit.page.locator("#message").is_hidden()
    assert visit.troubles == []


def test_a_run_that_stopped_before_its_first_checkpoint_says_how_it_goes_on(
    browser: Any, finished_run: Path, tmp_path: Path, start: Callable[..., Explorer]
) -> None:
    run = unfinished(finished_run, tmp_path / "run", {})
    stop(run)
    explorer = start(run)
    seen = visited(browser, run, explorer, next_link(explorer))
    seen.until("() => document.getElementById('message').textContent.includes('before its first epoch ended')")
    assert f"dynaflex resume {run}" in seen.page.inner_text("#message")
    assert seen.page.locator("[data-panel=explore]").is_disabled() and seen.troubles == []
    seen.page.close()
