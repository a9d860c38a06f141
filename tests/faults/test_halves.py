"""Rows H of the list that the table alone can tell: the two halves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cryosparc_files import records, write_cs
from dynaflex.data.particles import read_particles
from faults.harness import Command, Fault, Toy, prove


def halves(first: int) -> Callable[[Toy], list[object]]:
    def command(toy: Toy) -> list[object]:
        toy.change(lambda table: table.assign(rlnRandomSubset=["1"] * first + ["2"] * (120 - first)))
        return toy.check()

    return command


def one_full_micrograph(toy: Toy) -> list[object]:
    """Two stacks merged outside RELION, and no halves."""

    def merge(table: Any) -> Any:
        names = ["full.mrc" if row < 112 else "other.mrc" for row in range(120)]
        return table.drop(columns="rlnRandomSubset").assign(rlnMicrographName=names)

    toy.change(merge)
    return toy.check()


def cryosparc(toy: Toy) -> list[object]:
    path = write_cs(toy.folder / "particles.cs", records(toy.particles, 6.0))
    return ["check", path, "--map", toy.map, "--mask", toy.mask]


FAULTS = [
    Fault("H-01", "an empty half", halves(120), 3,
          ("column rlnRandomSubset", "found 120 and 0", "3D auto-refinement")),
    Fault("H-01", "a small half", halves(90), 0,
          ("warning", "the half-sets are unequal: 90 and 30", "half-sets: 90 and 30")),
    Fault("H-01", "a half of three to check", halves(117), 0,
          ("warning: with the usual settings", "half 2 has too few particles to train on", "found 3")),
    Fault("H-01", "a half of three to train on", lambda toy: (halves(117)(toy), toy.train())[1], 3,
          ("particles.star", "half 2 has too few particles to train on", "smaller --batch-size [halves.too-few]")),
    Fault("H-01", "a half of one", halves(119), 3, ("half 2 has too few particles", "expected at least 2", "found 1")),
    Fault("H-01", "one micrograph with nearly all", one_full_micrograph, 0,
          ("warning", "full.mrc holds 112 of 120 particles", "half-sets: 60 and 60")),
    Fault("H-02", "splits of cryoSPARC", cryosparc, 0,
          ("half-sets: 60 and 60", "from alignments3D/split", "nothing wrong")),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.row}-{fault.given}")
def test_fault(fault: Fault, toy: Toy, command: Command) -> None:
    prove(fault, toy, command)


def test_H_02_splits_0_and_1_are_halves_1_and_2(toy: Toy) -> None:
    rows = records(toy.particles, 6.0)
    particles = read_particles(write_cs(toy.folder / "particles.cs", rows))
    np.testing.assert_array_equal(particles.half, rows["alignments3D/split"] + 1)
    np.testing.assert_array_equal(particles.half, read_particles(toy.particles).half)


def test_H_04_a_run_does_not_go_on_with_other_halves(toy: Toy, command: Command) -> None:
    assert command(*toy.train()).code == 0
    before = {path: path.read_bytes() for path in toy.run.rglob("*.safetensors")}
    toy.change(lambda table: table.assign(rlnRandomSubset=[str(3 - int(half)) for half in table["rlnRandomSubset"]]))
    outcome = command(*toy.train("--resume"))
    assert outcome.code == 8
    for words in ("[run.other-inputs]", "particles.star has changed", "120 of 120"):
        assert words in outcome.err, outcome.err
    assert {path: path.read_bytes() for path in toy.run.rglob("*.safetensors")} == before
