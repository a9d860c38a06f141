"""What a visitor sees first, in a real browser: the main motion, playing, along axes that both halves share."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from viewer.browsing import Visit, next_link, visited
from viewer.conftest import Explorer

PLAYING = "() => dynaflex.explore.path.movie.playing"


@pytest.fixture(scope="module", params=["dynamight", "flex"])
def explorer(request: pytest.FixtureRequest, start: Callable[..., Explorer]) -> tuple[Explorer, Path]:
    run = request.getfixturevalue("finished_run" if request.param == "dynamight" else "flex_run")
    return start(run), run


@pytest.fixture
def seen(browser: Any, explorer: tuple[Explorer, Path]) -> Iterator[Visit]:
    visit = visited(browser, explorer[1], explorer[0], next_link(explorer[0]), reduced_motion="no-preference")
    yield visit
    visit.page.close()


def test_it_opens_on_the_main_motion_playing_to_and_fro(seen: Visit) -> None:
    seen.until(PLAYING)
    assert seen.ask("() => dynaflex.explore.plot.labels") == ["motion 1, Å", "motion 2, Å"]
    assert "400 particles" in seen.page.inner_text("#legend") and seen.page.input_value("#half") == "0"
    assert seen.page.input_value("#axis") == "motion1" and seen.page.input_value("#surface-colour") == "displacement"
    assert seen.page.locator("#plot .path").count() == 1 and seen.page.locator("#play-first").is_hidden()
    # Not all frames have come when it turns back; the surface is coloured by how far it has moved.
    indices = []
    deadline = time.monotonic() + 60
    while len(indices) < 60 and time.monotonic() < deadline:
        index = seen.ask("() => dynaflex.explore.path.movie.index")
        if not indices or index != indices[-1]:
            indices.append(index)
        time.sleep(0.02)
    assert {0, 23} & set(indices[1:]) and {1, -1} <= set(np.sign(np.diff(indices)).tolist())
    colours = seen.ask("() => dynaflex.explore.view.message.data[1].reduce((a, b) => Math.max(a, b))")
    assert seen.ask("() => dynaflex.explore.view.message.colour.id") == "displacement" and colours > 0
    # The mark is on the path, and the place has the words of the axes.
    at, line = seen.ask("() => [dynaflex.explore.at, dynaflex.explore.plot.marks.line]")
    assert np.hypot(*(np.array(line) - at).T).min() < 1.0
    # Between its ends, which particles are near, a path may pass where none is.
    assert re.search(
        r"half 1: motion 1 = \S+ Å, motion 2 = \S+ Å; (no particle|\S+ particles?) within \S+ σ",
        seen.page.inner_text("#place"),
    )


def test_a_click_stops_it_and_play_goes_on(seen: Visit) -> None:
    seen.until(PLAYING)
    seen.page.mouse.click(*seen.at(0.5, 0.5))
    seen.until("() => !dynaflex.explore.path.movie.playing && dynaflex.explore.filled")
    seen.page.click("#play")
    seen.until(PLAYING)
    seen.page.keyboard.press("Tab")
    seen.page.click("#play")
    seen.until("() => !dynaflex.explore.path.movie.playing")


def test_who_wants_less_motion_is_offered_to_play(browser: Any, explorer: tuple[Explorer, Path]) -> None:
    seen = visited(browser, explorer[1], explorer[0], next_link(explorer[0]), reduced_motion="reduce")
    still = seen.surface()
    time.sleep(1.0)
    assert not seen.ask(PLAYING) and np.array_equal(seen.surface(), still)
    # What is shown is an end of the motion, so that its colours say where it is.
    assert np.ptp(still.astype(int), axis=2).max() > 60
    button = seen.page.locator("#play-first")
    box, pane = button.bounding_box(), seen.page.locator("#surface").bounding_box()
    assert button.is_visible() and "Play motion 1" in button.inner_text()
    assert pane["x"] < box["x"] and box["x"] + box["width"] < pane["x"] + pane["width"] and box["height"] > 30
    button.click()
    seen.until(PLAYING)
    assert button.is_hidden()
    seen.page.close()


def test_everything_is_counted_from_one(seen: Visit) -> None:
    words = seen.ask("() => [...document.querySelectorAll('option, button, b, h2, text')].map((e) => e.textContent)")
    numbered = [text for text in words if re.search(r"(motion|latent|component|UMAP|half|PC)\b.*\d", text)]
    assert len(numbered) > 10 and not [text for text in numbered if re.search(r"\b0\b|\bPC\b", text)]
    firsts = {"motion 1", "motion 2", "component 1", "latent 1", "half 1"}
    assert firsts <= {text.split(" (")[0] for text in words}
    seen.page.select_option("#x", "latent1")
    seen.until("() => dynaflex.explore.plot.labels[0] === 'latent 1, σ'")
    seen.page.select_option("#axis", "component2")
    seen.until("() => dynaflex.explore.path.movie.nodes.length === 17")
    asked = "".join(url.rpartition("/api/")[2] + "\n" for url in seen.requests if "/api/" in url)
    assert "axis=motion1" in asked and "axis=component2" in asked and "column/latent1" in asked
    assert not re.search(r"(motion|latent|component|pc|z|axis=)0\b", asked)


def test_a_particle_is_called_by_its_row_in_the_table(seen: Visit) -> None:
    seen.until("() => dynaflex.explore.bar.rows")
    index = 17
    x, y = seen.ask(
        "(i) => { const { plot, particles } = dynaflex.explore; return Promise.all(['motion1', 'motion2']"
        ".map((name) => particles.values(name))).then(([x, y]) => plot.toPixels(x[i], y[i])) }",
        index,
    )
    box = seen.page.locator("#plot canvas").bounding_box()
    seen.page.mouse.move(box["x"] + x, box["y"] + y)
    seen.until("() => !tooltip.hidden")
    with np.load(seen.run / "latents.npz") as stored:
        rows = stored["index"].tolist()
    found = int(re.fullmatch(r"row (\d+)\n.+", seen.ask("() => tooltip.textContent"))[1])
    # The nearest point may be another one that lies there too.
    near = seen.ask("([x, y]) => dynaflex.explore.plot.nearest(x, y, 8)", [x, y])
    assert found == rows[near] and "particle" not in seen.page.inner_text("#tooltip")


def test_nothing_went_wrong(seen: Visit) -> None:
    seen.until(PLAYING)
    assert seen.troubles == [] and seen.page.locator("#message").is_hidden()
