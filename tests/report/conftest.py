"""What the tests of the report share: runs in small, what a browser would make of the page, and haste."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from matplotlib.figure import Figure

from dynaflex.report import domains, views
from dynaflex.report.drawing import conformations, curves, figures, film, latents, mesh_picture, pictures
from dynaflex.report.drawing.film import Film
from dynaflex.report.drawing.style import Drawing
from dynaflex.report.html import write_report
from report.runs import HOSTILE, flex_epochs, fsc_curves_of, write_flex_run, write_run

VOID = {"meta", "br", "hr", "img", "link", "input"}
DRAWING: tuple[ModuleType, ...] = (conformations, curves, domains, figures, latents, mesh_picture, pictures, views)


class Page(HTMLParser):
    """Checks nesting, and gathers text, identifiers and references."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.identifiers: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.identifiers.append(value or "")
            if name in ("src", "href", "xlink:href", "data", "poster", "srcset", "action"):
                self.references.append(value or "")
            self.references.extend(re.findall(r"url\(([^)]+)\)", value or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="session")
def hostile() -> str:
    """Text that a page must not take for its own."""
    return HOSTILE


@pytest.fixture
def fsc_curves() -> Callable[..., dict[str, object]]:
    """``fsc_curves(limit, resolution)``: curves that fall around ``limit`` Å and quote ``resolution`` at 0.143."""
    return fsc_curves_of


@pytest.fixture
def epochs_of_flex() -> Callable[..., Iterable[dict[str, object]]]:
    """``epochs_of_flex(half, epochs=16, gain=30.0)``: what the training of a half writes down."""
    return flex_epochs


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of DynaMight, to be spoiled."""
    return write_run(tmp_path / "run")


@pytest.fixture
def flex(tmp_path: Path) -> Path:
    """A run of 3DFlex, to be spoiled."""
    return write_flex_run(tmp_path / "flex")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of DynaMight, to be looked at."""
    return write_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="session")
def finished_flex(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 3DFlex, to be looked at."""
    return write_flex_run(tmp_path_factory.mktemp("report") / "flex")


@pytest.fixture(scope="session")
def page_of() -> Callable[[Path], Page]:
    """The report of a run, written and parsed."""

    def written(run: Path) -> Page:
        with in_haste():
            return Page(write_report(run).read_text(encoding="utf-8"))

    return written


@pytest.fixture(scope="session")
def page(finished: Path, page_of: Callable[[Path], Page]) -> Page:
    """The report of :func:`finished`."""
    return page_of(finished)


@pytest.fixture(scope="session")
def flex_page(finished_flex: Path, page_of: Callable[[Path], Page]) -> Page:
    """The report of :func:`finished_flex`."""
    return page_of(finished_flex)


@contextmanager
def in_haste() -> Iterator[None]:
    """Figures beside the page that are only names: a whole report takes seconds."""

    def touch(_: Drawing, path: Path) -> None:
        for ending in (".png", ".pdf"):
            path.with_name(path.name + ending).touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Drawing, "write", touch)
        yield


@pytest.fixture(autouse=True)
def _in_haste() -> Iterator[None]:
    with in_haste():
        yield


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without their figures: what is tested is the page, and drawing takes a second."""

    class Nothing(Drawing):
        def svg(self) -> bytes:
            return b"<svg></svg>"

        def write(self, path: Path) -> None:
            pass

    for module in DRAWING:
        for name in [name for name in vars(module) if name.startswith("draw_")]:
            monkeypatch.setattr(module, name, lambda *_: Nothing(Figure()))
    for name in ("film_of_maps", "film_of_motion"):
        monkeypatch.setattr(film, name, lambda *_: Film(b"", 1, 1, [""], {"": 1}, "", 1.0, 1.0, 1.0))
