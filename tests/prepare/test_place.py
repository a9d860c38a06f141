"""Where the maps of a run lie is where its consensus lies, in both of the ways that a header can say it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynaflex.data.placed import Frame
from dynaflex.grid import Grid
from dynaflex.io.mrc import Place, read_map, write_map
from dynaflex.prepare.place import frame_of, place_of
from dynaflex.run.directory import Run

PLACES = [Place(start=(-16, -16, -16)), Place((12.5, -30.0, 6.0)), Place((-96.0, 0.0, 48.0), (-16, 0, 8)), Place()]


def moved(few: Path, folder: Path, place: Place) -> Path:
    """The data with a consensus and a mask that lie at ``place``."""
    shutil.copytree(few, folder)
    for name in ("consensus.mrc", "mask.mrc"):
        write_map(folder / name, read_map(few / name).data, 6.0, place)
    return folder


@pytest.mark.parametrize("place", PLACES)
def test_a_run_knows_its_frame_when_the_consensus_is_gone(
    few: Path, tmp_path: Path, brief: Callable[..., tuple[Path, Any]], place: Place
) -> None:
    data = moved(few, tmp_path / "data", place)
    path, outcome = brief("--until", "prepare", data=data)
    assert outcome.code == 0, outcome.err
    (data / "consensus.mrc").unlink()
    run = Run.open(path)
    assert frame_of(run) == Frame(Grid(32, 6.0), place)
    assert place_of(run, Grid(32, 6.0)) == place
    coarse = place_of(run, Grid(16, 12.0))
    assert coarse.corner(12.0) == pytest.approx(place.corner(6.0))


def test_the_warnings_of_the_check_are_kept_with_the_run(
    few: Path, tmp_path: Path, brief: Callable[..., tuple[Path, Any]]
) -> None:
    """A mask that was cropped is used in place, and the run says so."""
    data = moved(few, tmp_path / "data", Place())
    mask = read_map(few / "mask.mrc").data
    write_map(data / "mask.mrc", mask[2:30, 1:31, 3:32], 6.0, Place(start=(3, 1, 2)))
    path, outcome = brief("--until", "prepare", data=data)
    assert outcome.code == 0, outcome.err
    (warning,) = Run.open(path).read_json("provenance.json")["warnings"]
    assert "was put where its header says" in warning and warning in outcome.err


def test_every_map_of_a_run_lies_on_the_consensus(
    few: Path, tmp_path: Path, brief: Callable[..., tuple[Path, Any]], command: Callable[..., Any]
) -> None:
    place = PLACES[2]
    data = moved(few, tmp_path / "data", place)
    path, outcome = brief("--epochs", 1, data=data)
    assert outcome.code == 0, outcome.err
    assert command("volumes", path, "--axis", 1, "--frames", 2, "-o", tmp_path / "series").code == 0
    assert command("export", path, "--to", "chimerax", "-o", tmp_path / "chimerax").code == 0
    written = [*path.rglob("*.mrc"), *(tmp_path / "series").rglob("*.mrc"), *(tmp_path / "chimerax").rglob("*.mrc")]
    assert len(written) > 20
    for name in written:
        assert read_map(name).place == place, name
    assert command("reconstruct", path, "--box", 16).code == 0
    coarse = read_map(path / "maps" / "map.mrc")
    assert coarse.box == 16 and coarse.origin == pytest.approx(place.corner(6.0))
