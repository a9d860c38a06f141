"""A file of particles is understood by what is in it: the run's own table, a part of it, or neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaflex.data.columns import particle_block
from dynaflex.errors import InputError
from dynaflex.io.star import read_star, write_star
from dynaflex.products.states.named import rows_named
from dynaflex.run.directory import Run
from dynaflex.run.files import read_latents

Command = Callable[..., Any]
ROWS = [3, 4, 11, 90]


@pytest.fixture(scope="module")
def run(brief_run: Path) -> Run:
    return Run.open(brief_run)


def changed(run: Run, path: Path, **values: str) -> Path:
    """The run's input table with values of its row 4 replaced."""
    star = read_star(Path(run.read_json("provenance.json")["inputs"]["particles"]))
    table = star.blocks[particle_block(star)]
    for name, value in values.items():
        table.loc[4, name] = value
    write_star(star, path)
    return path


def test_rows_are_found_however_they_are_written_down(run: Run, command: Command, tmp_path: Path) -> None:
    listed, saved, table = (tmp_path / f"rows.{ending}" for ending in ("txt", "npy", "star"))
    listed.write_text("".join(f"{row}\n" for row in reversed(ROWS)))
    np.save(saved, np.array(ROWS[::-1]))
    assert command("select", run.path, "--particles", listed, "-o", table).code == 0
    for path in (listed, saved, table):
        found = rows_named(run, path)
        assert found is not None and found.tolist() == ROWS


def test_the_whole_table_is_the_input_wherever_it_lies(run: Run, tmp_path: Path) -> None:
    assert rows_named(run, changed(run, tmp_path / "moved.star")) is None
    # Digits that another program writes differently change nothing.
    angle = read_star(tmp_path / "moved.star")
    value = angle.blocks[particle_block(angle)]["rlnAngleRot"].iloc[4]
    subset = read_star(changed(run, tmp_path / "digits.star", rlnAngleRot=f"{float(value):.4f}"))
    subset.blocks[particle_block(subset)] = subset.blocks[particle_block(subset)].iloc[ROWS]
    write_star(subset, tmp_path / "digits.star")
    found = rows_named(run, tmp_path / "digits.star")
    assert found is not None and found.tolist() == ROWS


def test_particles_that_were_placed_anew_are_not_those_of_the_run(run: Run, tmp_path: Path) -> None:
    star = read_star(changed(run, tmp_path / "placed.star", rlnAngleRot="12.5"))
    star.blocks[particle_block(star)] = star.blocks[particle_block(star)].iloc[ROWS]
    write_star(star, tmp_path / "placed.star")
    with pytest.raises(InputError, match="1 of 4 rows") as refused:
        rows_named(run, tmp_path / "placed.star")
    assert refused.value.identifier == "state.other-poses" and refused.value.row == ROWS.index(4)


@pytest.mark.parametrize("name", ["000099@others.mrcs", "000001@particles.mrcs"], ids=["strange", "twice"])
def test_a_table_of_others_is_neither(run: Run, tmp_path: Path, name: str) -> None:
    path = changed(run, tmp_path / "others.star", rlnImageName=name)
    with pytest.raises(InputError, match="neither") as refused:
        rows_named(run, path)
    assert refused.value.identifier == "state.other-particles" and str(path) in str(refused.value)


@pytest.mark.parametrize("values", [np.array([0.5, 1.0]), np.array([[1, 2]]), np.array([-1, 2])])
def test_an_array_of_something_else_is_refused(run: Run, tmp_path: Path, values: np.ndarray) -> None:
    np.save(tmp_path / "rows.npy", values)
    with pytest.raises(InputError, match=r"\[state.no-rows\]"):
        rows_named(run, tmp_path / "rows.npy")


REFUSED = {
    "state.which": ("-o", "maps"),
    "state.several": ("--cluster", 1, "--around", "0,0"),
    "state.nearest": ("--nearest", 30),
    "state.place": ("--around", "0.5;1"),
    "state.latents": ("--around", "0.5,1.0,0.2"),
    "state.no-such-row": ("--around", "z.npy:3"),
    "state.too-few": ("--particles", "few.txt"),
    "state.no-inverse": ("--particles", "many.txt", "--field", "inverse"),
    "select.beyond": ("--particles", "beyond.txt"),
}


@pytest.mark.parametrize("identifier", REFUSED)
def test_what_cannot_be_meant_is_refused_and_leaves_nothing(
    brief_run: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identifier: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("z.npy", np.zeros((3, read_latents(Run.open(brief_run)).mean.shape[1])))
    for name, rows in (("few", range(30)), ("many", range(120)), ("beyond", range(130))):
        Path(f"{name}.txt").write_text("".join(f"{row}\n" for row in rows))
    outcome = command("reconstruct", brief_run, *REFUSED[identifier])
    assert outcome.code in (2, 3) and f"[{identifier}]" in outcome.err, outcome.err
    assert not (brief_run / "states").exists() and not Path("maps").exists()
