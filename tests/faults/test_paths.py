"""Rows I of the list: where the images are."""

from __future__ import annotations

import pytest

from faults.harness import Command, Fault, Toy, prove


def images_gone(toy: Toy) -> list[object]:
    toy.stack.unlink()
    return toy.check()


FAULTS = [
    Fault("I-01", "no image file", images_gone, 3, ("particles.star", "particles.mrcs", "--datadir")),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.row)
def test_fault(fault: Fault, toy: Toy, command: Command) -> None:
    prove(fault, toy, command)
