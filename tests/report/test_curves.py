"""Laws of curves that are drawn twice: on paper and on the page they are the same, and are called what they are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaflex.report import page
from dynaflex.report.drawing.curves import Curve, Plot, described, draw_curves
from dynaflex.report.drawing.figures import fsc_plot, model_fsc_plot
from dynaflex.report.facts.resolution import Nyquist
from patience import eventually

Curves = Callable[..., dict[str, object]]
PLOTS = [
    Plot(
        f"plot {number}",
        [
            Curve("rising", np.arange(11.0), np.arange(11.0) * number, "#2f7fc1"),
            Curve("now and then", np.array([0.0, 5.0, 10.0]), np.array([3.0, np.nan, 4.0]), "#d07b1f", "--"),
        ],
        "epoch",
    )
    for number in (1, 2)
]


def words(drawing: Any) -> str:
    return " ".join(re.findall(r">([^<>]+)</text>", drawing.svg().decode()))


def compared(fsc_curves: Curves) -> dict[str, Any]:
    return {"deformed": fsc_curves(6.5, 6.0), "rigid": fsc_curves(9.0, 8.43)}


def test_a_page_knows_every_value_and_no_other() -> None:
    first, second = json.loads(described(PLOTS, 2.0))
    assert first["x"] == list(range(11)) and second["curves"][0]["y"] == list(range(0, 22, 2))
    assert first["curves"][1]["y"] == [3.0] + [None] * 9 + [4.0]


def test_corrected_is_the_map_and_phase_randomised_the_curve(fsc_curves: Curves) -> None:
    plot = fsc_plot("whole", compared(fsc_curves), 20.0, Nyquist(6.0, "images"))
    labels = [curve.label for curve in plot.curves]
    assert labels[:2] == ["corrected, phase-randomised", "rigid, phase-randomised"] and len(set(labels)) == 6
    for text in (words(draw_curves([plot], 3.0)), described([plot], 3.0)):
        assert all(label in text for label in labels)
        assert "deformed" not in text and ", corrected" not in text
        assert "Nyquist limit of the images, 6.00 Å" in text and "8.43 Å" in text and "inside 20 Å" in text
    for name, curve in (("deformed", plot.curves[0]), ("rigid", plot.curves[1])):
        np.testing.assert_array_equal(curve.y, compared(fsc_curves)[name]["corrected"])
    (upright,) = plot.uprights
    assert upright == pytest.approx(1 / 6) and plot.limits()[1] > upright


def test_a_model_of_one_half_is_drawn_alone(fsc_curves: Curves) -> None:
    curves = fsc_curves(8, None)
    plot = model_fsc_plot({"half2": {"frequency": curves["frequency"], "final": curves["masked"]}})
    assert [curve.label for curve in plot.curves] == ["half 2, to its final map"]


def test_the_report_calls_no_map_deformed_and_no_curve_corrected(page: Any, flex_page: Any) -> None:
    for text in (page.text, flex_page.text):
        assert "phase-randomised" in text and not re.search(r"deformed,|(rigid|corrected), corrected", text)


def test_pictures_that_show_the_same_have_names_of_their_own() -> None:
    svg = b'<svg viewBox="0 0 9 9"><image id="image12"/><image id="image12"/><use href="#image12"/></svg>'
    text = page.inline("mesh", svg, "A mesh.")
    assert re.findall(r'id="([^"]+)"', text) == ["mesh-image12", "mesh-image12-2"] and 'href="#mesh-image12"' in text


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with two plots."""
    figure = page.plotted("two", described(PLOTS, 2.0), draw_curves(PLOTS, 2.0).svg(), "Two plots.")
    path = tmp_path_factory.mktemp("curves") / "page.html"
    path.write_text(page.document("curves", [figure]), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Any, written: Path) -> Iterator[Any]:
    """The page in a browser, with no complaint from it."""
    shown, complaints = browser.new_page(), []
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.goto(written.as_uri())
    yield shown
    assert complaints == []
    shown.close()


def over(shown: Any, share: float) -> tuple[float, float]:
    box = shown.locator("#two .u-over").first.bounding_box()
    return box["x"] + share * box["width"], box["y"] + 0.5 * box["height"]


def read(shown: Any) -> list[str]:
    """What the legends of both plots say of the place under the mouse."""
    return [text.strip() for text in shown.locator("#two .u-value").all_inner_texts()]


def assert_read(shown: Any, share: float, expected: list[str | None]) -> None:
    """The legends begin with the ``expected`` values, where one is, when the mouse is there: now or soon."""

    def holds() -> bool:
        shown.mouse.move(*over(shown, share + 0.002))
        shown.mouse.move(*over(shown, share))
        return all(one in (None, found) for one, found in zip(expected, read(shown), strict=False))

    eventually(holds)


def test_the_mouse_reads_all_curves_of_a_figure_at_once(opened: Any) -> None:
    assert_read(opened, 0.5, ["5", "5", "–", "5", "10", "–"])


def test_a_part_that_is_dragged_over_is_enlarged_in_both_plots_and_comes_back(opened: Any) -> None:
    opened.mouse.move(*over(opened, 0.6))
    opened.mouse.down()
    opened.mouse.move(*over(opened, 0.8))
    opened.mouse.move(*over(opened, 1.0))
    opened.mouse.up()
    assert_read(opened, 0.01, ["6", None, None, "6"])
    opened.mouse.dblclick(*over(opened, 0.01))
    assert_read(opened, 0.02, ["0"])


def test_paper_and_pages_without_javascript_show_the_drawing(opened: Any, browser: Any, written: Path) -> None:
    drawing, charts = (opened.locator(f"#two > {name}") for name in ("svg", ".charts"))
    assert charts.is_visible() and not drawing.is_visible()
    opened.emulate_media(media="print")
    assert drawing.is_visible() and not charts.is_visible()
    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto(written.as_uri())
    assert plain.locator("#two > svg").is_visible() and not plain.locator("#two .hint").is_visible()


def test_the_licence_of_the_library_goes_with_it(written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    assert "Copyright (c) 2022 Leon Sorokin" in text and "The above copyright notice" in text
    assert "http:" not in text and "https:" not in text
