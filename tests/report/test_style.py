"""Laws of a drawing as a file: it stands on white, in both formats, and equal drawings give equal bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dynaflex.report.drawing import style

WRITE = style.Drawing.write


@pytest.fixture(autouse=True)
def _as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style.Drawing, "write", WRITE)


@style.drawn
def line() -> Figure:
    figure = style.new_figure(2.0)
    figure.add_subplot().plot([0, 1], [0, 1], color=style.HALF[1])
    return figure


def test_files_stand_on_white_and_the_page_gives_its_own_ground(tmp_path: Path) -> None:
    drawing = line()
    before = drawing.svg()
    drawing.write(tmp_path / "a.b")
    picture = np.asarray(Image.open(tmp_path / "a.b.png").convert("RGBA"))
    assert (picture[0, 0] == 255).all() and picture.shape[1] == pytest.approx(style.FILE_DPI * style.WIDTH, abs=1)
    assert (tmp_path / "a.b.pdf").read_bytes().startswith(b"%PDF")
    assert drawing.svg() == before and b"#ffffff" not in before


def test_equal_drawings_give_equal_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        line().write(tmp_path / name)
    for ending in (".png", ".pdf"):
        assert (tmp_path / f"one{ending}").read_bytes() == (tmp_path / f"two{ending}").read_bytes()
