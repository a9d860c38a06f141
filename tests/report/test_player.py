"""The films of the report in a real browser: by mouse and keyboard, and standing still without JavaScript."""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dynaflex.report import page
from dynaflex.report.drawing.film import Film, webp
from dynaflex.report.drawing.player import film_figure

SHADES = [0, 60, 120, 180, 240]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with two films of five frames, each of one shade."""
    sheet = np.concatenate([np.full((50, 200, 4), (shade, shade, shade, 255), np.uint8) for shade in SHADES])
    film = Film(
        webp(sheet),
        200,
        50,
        [f"shade <{shade}>" for shade in SHADES],
        {"left": 100, "right": 100},
        "far",
        3.0,
        20.0,
        0.25,
    )
    parts = [
        film_figure("there", film, "To & fro.", goes_round=False),
        film_figure("round", film, "Round.", goes_round=True),
    ]
    path = tmp_path_factory.mktemp("player") / "page.html"
    path.write_text(page.document("films", parts), encoding="utf-8")
    return path


def shade(opened: Any, film: str) -> int:
    """What the middle of the picture looks like."""
    picture = Image.open(io.BytesIO(opened.locator(f"#{film} img").screenshot())).convert("L")
    return int(np.asarray(picture)[20:30, 50:150].mean())


def test_the_keyboard_moves_the_film(browser: Any, written: Path) -> None:
    opened = browser.new_page()
    opened.goto(written.as_uri())
    assert abs(shade(opened, "there") - SHADES[0]) < 4
    slider = opened.locator("#there input")
    slider.focus()
    for _ in range(2):
        slider.press("ArrowRight")
    assert abs(shade(opened, "there") - SHADES[2]) < 4
    assert opened.locator("#there output").inner_text() == "shade <120>"
    assert slider.get_attribute("aria-valuetext") == "shade <120>"
    slider.press("End")
    assert abs(shade(opened, "there") - SHADES[4]) < 4
    assert abs(shade(opened, "round") - SHADES[0]) < 4, "the other film stands still"


@pytest.mark.parametrize(("film", "after_the_last"), [("there", "3"), ("round", "0")])
def test_the_button_plays_and_pauses(browser: Any, written: Path, film: str, after_the_last: str) -> None:
    opened = browser.new_page()
    opened.clock.install(time=datetime(2030, 1, 1))
    opened.goto(written.as_uri())
    # From here on the page's clock stands still but for what the test lets pass.
    opened.clock.pause_at(datetime(2030, 1, 2))
    button, slider = opened.locator(f"#{film} button"), opened.locator(f"#{film} input")
    assert button.inner_text() == "Play"
    slider.fill("4")
    button.press("Enter")
    assert button.inner_text() == "Pause"
    opened.clock.run_for(115)
    assert slider.input_value() == after_the_last
    button.press("Space")
    opened.clock.run_for(1000)
    assert slider.input_value() == after_the_last and button.inner_text() == "Play"


def test_without_javascript_the_first_frame_is_seen(browser: Any, written: Path) -> None:
    opened = browser.new_context(java_script_enabled=False).new_page()
    opened.goto(written.as_uri())
    assert abs(shade(opened, "there") - SHADES[0]) < 4
    assert "first of 5 pictures" in opened.locator("#there").inner_text()
    assert not opened.locator("#there button").is_visible()
