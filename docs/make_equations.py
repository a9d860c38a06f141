"""Write docs/equations.md: every numbered equation of the papers and the one place in the code that implements it.

The index is read from the docstrings under src/: a home says ``Implements [DM 13].``, or ``[DM 5, 13]`` for several.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "equations.md"

DYNAMIGHT = {
    1: "an image is the CTF applied to the projection of the deformed density",
    2: "the density is a sum of Gaussians",
    3: "deforming the density moves the centres of its Gaussians",
    4: "the decoder adds a displacement to every consensus position",
    5: "bonds of an atomic model keep their length",
    6: "the map that explains all images best, given the motion",
    7: "deformed filtered backprojection",
    8: "classes of Gaussian with shared width and amplitude",
    9: "the decoder at any point of space",
    10: "projected centres on a grid, times form factor and CTF",
    11: "the data loss, with resolution-dependent noise weights",
    12: "the graph of neighbouring Gaussians",
    13: "neighbours keep their distance",
    14: "neighbours that come too close repel each other",
}

FLEX = {
    1: "an image is the CTF applied to the projection of the convected map",
    2: "the same, with the convected map written out",
    3: "the data loss",
    4: "convection: every voxel leaves its density at its destination",
    5: "inside a tetrahedron the deformation is affine",
    6: "rigidity: the singular values of every tetrahedron's matrix stay near one",
    7: "the loss: data plus lambda times rigidity",
}

PAPERS = {"DM": DYNAMIGHT, "3DF": FLEX}

_TAG = re.compile(r"Implements \[(DM|3DF) (\d+(?:, \d+)*)\]")

_HEADER = """\
# Where the equations live

Made from the docstrings by `make docs`; a test keeps this page and the index complete. DM is
[DynaMight](https://doi.org/10.1038/s41592-024-02377-5), 3DF is [3DFlex](https://doi.org/10.1038/s41592-023-01853-8).

| equation | what it says | where |
|---|---|---|
"""


def homes(source: Path) -> Iterator[tuple[str, int, str, str]]:
    """(paper, equation, path below the project, name) of every tag in the docstrings of one file."""
    path = source.relative_to(ROOT).as_posix()
    for name, docstring in _docstrings(ast.parse(source.read_text(encoding="utf-8")), ()):
        for paper, numbers in _TAG.findall(" ".join(docstring.split())):
            for number in numbers.split(", "):
                yield paper, int(number), path, name


def _docstrings(node: ast.AST, scope: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(dotted name, docstring) of a module and of every function and class in it; the module's name is empty."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        docstring = ast.get_docstring(node)
        if docstring is not None:
            yield ".".join(scope), docstring
    for child in ast.iter_child_nodes(node):
        inner = (child.name,) if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) else ()
        yield from _docstrings(child, scope + inner)


def index(root: Path = ROOT) -> dict[tuple[str, int], list[tuple[str, str]]]:
    """From (paper, equation) to the (path, name) of all its homes."""
    found: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for source in sorted((root / "src").rglob("*.py")):
        for paper, number, path, name in homes(source):
            found.setdefault((paper, number), []).append((path, name))
    return found


def page() -> str:
    """The text of docs/equations.md."""
    found = index()
    rows = []
    for paper, equations in PAPERS.items():
        for number, meaning in equations.items():
            links = ", ".join(_link(path, name) for path, name in found.get((paper, number), []))
            rows.append(f"| {paper} {number} | {meaning} | {links} |")
    return _HEADER + "\n".join(rows) + "\n"


def _link(path: str, name: str) -> str:
    module = path.removeprefix("src/dynaflex/").removesuffix(".py").replace("/", ".")
    return f"[`{module}.{name}`](../{path})" if name else f"[`{module}`](../{path})"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
