"""The notebooks run from their first cell to their last, in a fresh process, and are kept without what came of that."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from notebook_cells import cells

TESTS = Path(__file__).parent
FOLDER = TESTS.parent / "notebooks"
NOTEBOOKS = [FOLDER / "from_particles_to_maps.ipynb", FOLDER / "exploring_a_run.ipynb"]


def test_they_run_and_show_what_they_draw(tmp_path: Path) -> None:
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    typed = [sys.executable, TESTS / "notebook_cells.py", tmp_path, *NOTEBOOKS]
    ended = subprocess.run(typed, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    for notebook in NOTEBOOKS:
        drawing = sum("plt.subplots" in "".join(cell["source"]) for cell in cells(notebook))
        assert drawing == len([*tmp_path.glob(f"{notebook.stem}-*.png")]) > 2
    assert len([*tmp_path.glob("exploring_a_run-*.html")]) == 2
    assert (tmp_path / "hinge" / "opened.star").is_file()


def test_all_notebooks_are_run() -> None:
    assert {*FOLDER.glob("*.ipynb")} == {*NOTEBOOKS}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_are_kept_without_outputs(notebook: Path) -> None:
    for cell in cells(notebook):
        assert not cell.get("outputs") and cell.get("execution_count") is None
        for link in re.findall(r"\]\(([^)#:]+)\)", "".join(cell["source"])):
            assert cell["cell_type"] == "code" or (FOLDER / link).exists(), link
