"""Run notebooks as Jupyter would: ``python tests/notebook_cells.py FOLDER NOTEBOOK...``, each cell after the other.

What a cell ends with is shown, and every figure goes into FOLDER as a picture.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt


def cells(notebook: Path) -> list[dict[str, Any]]:
    """The cells of a notebook."""
    found: list[dict[str, Any]] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return found


def run(notebook: Path, folder: Path) -> None:
    """Execute the code of a notebook."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells(notebook), 1):
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        where = f"{notebook.name}, cell {number}"
        exec(compile(tree, where, "exec"), names)
        if last is not None:
            shown = eval(compile(ast.Expression(last.value), where, "eval"), names)
            if hasattr(shown, "_repr_html_"):
                (folder / f"{notebook.stem}-{number}.html").write_text(shown._repr_html_(), encoding="utf-8")
        for figure in map(plt.figure, plt.get_fignums()):
            figure.savefig(folder / f"{notebook.stem}-{number}.png")
        plt.close("all")


if __name__ == "__main__":
    out = Path(sys.argv[1]).absolute()
    paths = [Path(name).absolute() for name in sys.argv[2:]]
    os.chdir(out)
    for path in paths:
        run(path, out)
