"""What a run hands to RELION: the user's own table but for added columns, and so the same map."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from dynaflex.io.star import read_star


@pytest.fixture(scope="module")
def exported(brief_run: Path, few: Path, command: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the input table, the exported one, and the images that both name."""
    folder = tmp_path_factory.mktemp("exported")
    assert command("export", brief_run, "--to", "relion", "-o", folder / "to_relion").code == 0
    shutil.copy(few / "particles.star", folder / "given.star")
    shutil.copy(folder / "to_relion" / "particles.star", folder / "ours.star")
    shutil.copy(few / "particles.mrcs", folder / "particles.mrcs")
    return folder


def test_the_table_differs_by_added_columns_alone(exported: Path) -> None:
    given, ours = (read_star(exported / name).blocks for name in ("given.star", "ours.star"))
    assert list(given) == list(ours)
    for block, table in given.items():
        assert ours[block][table.columns].equals(table)
    added = set(ours["particles"].columns) - set(given["particles"].columns)
    assert added and all(name.startswith("dynaflex") for name in added)


def test_relion_reconstructs_the_same_map_from_both(exported: Path, run_relion: Callable[..., None]) -> None:
    for name in ("given", "ours"):
        run_relion("relion_reconstruct", "--i", f"{name}.star", "--o", f"{name}.mrc", "--ctf", directory=exported)
    first, second = (mrcfile.read(exported / f"{name}.mrc") for name in ("given", "ours"))
    assert np.abs(first).max() > 0
    np.testing.assert_array_equal(first, second)
