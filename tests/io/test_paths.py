"""Laws of paths that are written down: they lead to the same file, from anywhere, by the names that the user knows."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from dynaflex.io.paths import absolute


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Folders in folders, and links to some of them that lead sideways, up and down, and to links."""
    for folder in ("a/b/c", "d/e", "a/f"):
        (tmp_path / folder).mkdir(parents=True)
    for link, target in (("a/up", "../d/e"), ("d/down", tmp_path / "a/b/c"), ("d/e/on", "../down"), ("a/b/near", "c")):
        (tmp_path / link).symlink_to(target)
    return tmp_path


@pytest.mark.parametrize("number", range(50))
def test_it_is_the_same_place_from_anywhere(tree: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    chance = random.Random(number)
    monkeypatch.chdir(chance.choice([tree / "a" / "b", tree / "d" / "down", tree / "a" / "up"]))
    path = Path(chance.choice(["", str(tree)]))
    for _ in range(8):
        below = [one.name for one in path.iterdir() if one.is_dir()]
        path /= chance.choice([*below, "..", "."] if path.resolve().is_relative_to(tree.resolve()) else [tree])
    there, written = path.stat().st_ino, absolute(path)
    monkeypatch.chdir("/")
    assert written.is_absolute() and ".." not in written.parts and written.stat().st_ino == there


def test_a_link_keeps_its_name_unless_the_way_leads_up_from_it(tree: Path) -> None:
    assert absolute(tree / "a" / "up" / "x.star") == tree / "a" / "up" / "x.star"
    assert absolute(tree / "a" / "b" / ".." / "up" / "x.star") == tree / "a" / "up" / "x.star"
    # From where a/up leads to, one goes up to d, not to a.
    assert absolute(tree / "a" / "up" / ".." / "x.star") == tree.resolve() / "d" / "x.star"


def test_what_is_not_there_yet_has_a_path_too(tree: Path) -> None:
    assert absolute(tree / "new" / ".." / "other" / "run") == tree / "other" / "run"
    assert absolute("/../..") == Path("/")
