"""The house stays one that can be lived in: rooms are small, files are short, and no room hides what the door opens."""

from __future__ import annotations

from pathlib import Path

import pytest

import dynaflex

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "dynaflex"
ROOMS = [path.parent for path in sorted(SOURCE.rglob("__init__.py"))]
MODULES, LINES = 12, 300


def within(room: Path) -> list[str]:
    """The modules and inner rooms of a room."""
    modules = [path.stem for path in room.glob("*.py") if path.name != "__init__.py"]
    return modules + [path.name for path in room.iterdir() if (path / "__init__.py").exists()]


@pytest.mark.parametrize("room", ROOMS[1:], ids=lambda room: str(room.relative_to(SOURCE)))
def test_a_room_holds_at_most_twelve_modules(room: Path) -> None:
    assert 0 < len(within(room)) <= MODULES, sorted(within(room))


def test_no_room_is_called_like_what_the_door_opens() -> None:
    assert not set(within(SOURCE)) & set(dynaflex.__all__)


def test_no_file_is_long() -> None:
    """Ours: the libraries of the pages are as they came."""
    ours = [
        path
        for folder in ("src", "tests", "benchmarks", "docs", "examples")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".js", ".c", ".h", ".css", ".html"} and "vendor" not in path.parts
    ]
    assert len(ours) > 100
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in ours}
    assert not {name: count for name, count in lengths.items() if count > LINES}
