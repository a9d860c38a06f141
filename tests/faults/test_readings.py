"""Rows P, H and O of the list that only a comparison of the particles with the map, or with each other, can tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dynaflex.simulation.particles import simulate
from faults.harness import Command, Fault, Toy, prove
from planted import ANGLES, ORIGINS, PLANTS, columns


def planted(name: str, *options: object, train: bool = False) -> Any:
    """Plant the mistake, then check, or train."""

    def command(toy: Toy) -> list[object]:
        PLANTS[name].make(toy.folder)
        return toy.train(*options) if train else toy.check(*options)

    return command


def far_shifts(toy: Toy) -> list[object]:
    """Å in the columns of pixels: six times as far as they should be."""
    columns(lambda x, y: (4.0 * x, 4.0 * y), *ORIGINS, to=("rlnOriginX", "rlnOriginY"))(toy.folder)
    return toy.check()


def defocus_in_micrometres(toy: Toy) -> list[object]:
    columns(lambda u, v: (u / 1e4, v / 1e4), "rlnDefocusU", "rlnDefocusV")(toy.folder)
    return toy.check()


def noise(toy: Toy) -> list[object]:
    simulate(toy.folder, 120, 32, 6.0, 0.0, "hinge", 0)
    return toy.check()


def trained_on_noise(*options: object) -> Any:
    def command(toy: Toy) -> list[object]:
        noise(toy)
        return toy.train(*options)

    return command


def picked_twice(toy: Toy) -> list[object]:
    def place(frame: Any) -> Any:
        other = frame.index[frame["rlnRandomSubset"] != frame.loc[0, "rlnRandomSubset"]][0]
        x = np.arange(len(frame)) * 100.0
        x[other] = 1.0
        return frame.assign(rlnMicrographName="mic.mrc", rlnCoordinateX=[f"{v:.1f}" for v in x], rlnCoordinateY="500.0")

    toy.change(place)
    return toy.check()


def black_map(toy: Toy) -> list[object]:
    PLANTS["contrast"].make(toy.folder)
    return toy.check("--invert-contrast")


NO_MATCH = ("do not match this map", "particles.star", "in the same order")

FAULTS = [
    Fault("P-05", "shifts of a quarter of the box", far_shifts, 3, ("pixels taken for Å", *ORIGINS)),
    Fault("P-07", "angles in radians", planted("radians"), 3, ("angles are radians", ANGLES[0], "57.29578")),
    Fault("P-08", "shift sign", planted("shift sign"), 3, ("shift sign flipped", "z = ", f"multiply {ORIGINS[0]}")),
    Fault("P-08", "px for Å", planted("shift in pixels, said to be Å"), 3, ("are pixels", "z = ", "rlnOriginX")),
    Fault("P-08", "transposed", planted("rotation transposed"), 3, ("rotation transposed", "z = ", "rlnAnglePsi")),
    Fault("P-08", "upside down", planted("images upside down"), 3, ("images upside down", "z = ", "extract")),
    Fault("P-08", "mirrored map", planted("hand"), 3, ("map mirrored in x", "--invert_hand", "absolute hand")),
    Fault("P-08", "index from 0", planted("rows one behind"), 3, ("one image behind", "rlnImageName", "add 1")),
    Fault(
        "P-08", "trained", planted("shift sign", train=True), 3, ("shift sign flipped", ORIGINS[0], "--skip-check")
    ),
    Fault("P-09", "rows shuffled", planted("rows shuffled"), 3, NO_MATCH),
    Fault("P-09", "noise", noise, 3, NO_MATCH),
    Fault("P-09", "trained on noise", trained_on_noise(), 0, ("warning", *NO_MATCH[:2])),
    Fault("P-11", "µm", defocus_in_micrometres, 3, ("median defocus", "rlnDefocusU", "10000")),
    Fault("P-11", "nm", planted("defocus in nm"), 3, ("defocus 10 times larger", "rlnDefocusU", "nm")),
    Fault("P-11", "negative", planted("CTF sign"), 3, ("median defocus", "defocus sign flipped", "rlnDefocusU")),
    Fault("P-15", "black", planted("contrast"), 3, ("contrast inverted", "particles.star", "--invert-contrast")),
    Fault("P-15", "black, and said so", black_map, 0, ("as given fits best", "nothing wrong", "correlation")),
    Fault("H-03", "picked twice", picked_twice, 3, ("same place of a micrograph", "rlnCoordinateX", "remove")),
    Fault("O-07", "map 10 % larger", planted("map 10 % larger"), 3, ("map 10 % larger", "rescale", "pixel size")),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.row} {fault.given}")
def test_fault(fault: Fault, toy: Toy, command: Command) -> None:
    prove(fault, toy, command)


def test_P_15_black_particles_train_nothing_even_where_nobody_checked(toy: Toy, command: Command) -> None:
    outcome = command(*planted("contrast", "--skip-check", train=True)(toy))
    assert outcome.code == 3, outcome.err
    for words in (str(toy.particles), "the negative of the map", "--invert-contrast", "[images.contrast]"):
        assert words in outcome.err
    assert not list(toy.run.glob("checkpoints/*"))
