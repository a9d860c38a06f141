"""Every numbered equation of the papers has exactly one home in the code, and the page of equations is up to date."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from pages import maker

ROOT = Path(__file__).parents[1]
Index = dict[tuple[str, int], list[tuple[str, str]]]

# Where a reader of the paper will look first.
EXPECTED = {
    ("DM", 2): "density/gaussians.py",
    ("DM", 3): "density/gaussians.py",
    ("DM", 4): "deformation/coordinate_mlp.py",
    ("DM", 5): "losses/isometry.py",
    ("DM", 6): "reconstruct/operator.py",
    ("DM", 7): "reconstruct/equations.py",
    ("DM", 8): "density/gaussians.py",
    ("DM", 9): "deformation/coordinate_mlp.py",
    ("DM", 10): "imaging/render.py",
    ("DM", 11): "losses/data.py",
    ("DM", 12): "losses/graph.py",
    ("DM", 13): "losses/isometry.py",
    ("DM", 14): "losses/repulsion.py",
    ("3DF", 1): "imaging/render.py",
    ("3DF", 2): "imaging/render.py",
    ("3DF", 3): "losses/data.py",
    ("3DF", 4): "density/canonical_map.py",
    ("3DF", 5): "mesh/tetmesh.py",
    ("3DF", 6): "losses/rigidity.py",
    ("3DF", 7): "methods/flex/train.py",
}
NUMBERED = [("DM", number) for number in range(1, 15)] + [("3DF", number) for number in range(1, 8)]


@pytest.fixture(scope="module")
def equations() -> ModuleType:
    return maker("equations")


@pytest.fixture(scope="module")
def index(equations: ModuleType) -> Index:
    found: Index = equations.index()
    return found


@pytest.mark.parametrize("equation", NUMBERED)
def test_each_equation_has_exactly_one_home(index: Index, equation: tuple[str, int]) -> None:
    homes = index.get(equation, [])
    assert len(homes) == 1, f"{equation} is implemented in {homes or 'no docstring'}"
    path, _ = homes[0]
    assert path.endswith(EXPECTED.get(equation, path))


def test_no_docstring_implements_an_equation_that_does_not_exist(equations: ModuleType, index: Index) -> None:
    known = {(paper, number) for paper, numbers in equations.PAPERS.items() for number in numbers}
    assert index.keys() <= known == set(NUMBERED)


def test_the_page_is_up_to_date(equations: ModuleType) -> None:
    assert equations.PAGE.read_text(encoding="utf-8") == equations.page(), "run `make docs`"


def test_tags_are_found_in_modules_classes_and_methods(
    equations: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "sample.py"
    source.write_text(
        '"""Implements [DM 1]."""\n'
        'class A:\n    """Text. Implements\n    [DM 2, 3]."""\n'
        '    def f(self):\n        """Uses [DM 4]. Implements [3DF 5]."""\n'
    )
    monkeypatch.setattr(equations, "ROOT", tmp_path)
    assert set(equations.homes(source)) == {
        ("DM", 1, "sample.py", ""),
        ("DM", 2, "sample.py", "A"),
        ("DM", 3, "sample.py", "A"),
        ("3DF", 5, "sample.py", "A.f"),
    }
