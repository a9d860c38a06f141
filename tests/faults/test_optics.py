"""Rows O of the list: optics groups, pixel sizes and boxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dynaflex.grid import Grid
from dynaflex.imaging.resample import resampled
from dynaflex.io.mrc import ImageStack, read_map, write_map, write_stack
from dynaflex.io.star import read_star
from faults.harness import Command, Fault, Toy, prove

BOX, PIXEL = 32, 6.0


def split(toy: Toy, native: Grid, *, first: bool) -> None:
    """Half of the particles, the first or the last, as a second optics group sampled on another grid."""
    stack = ImageStack.open(toy.stack)
    images = stack.read(np.arange(stack.n_images))
    chosen = np.arange(60) if first else np.arange(60, 120)
    write_stack(toy.folder / "other.mrcs", resampled(images[chosen], Grid(BOX, PIXEL), native), native.pixel_size)

    def regroup(table: Any) -> Any:
        number = table["rlnImageName"].str.partition("@")[0].astype(int) - 1
        for row in table.index[number.isin(chosen)]:
            table.loc[row, "rlnOpticsGroup"] = "2"
            table.loc[row, "rlnImageName"] = f"{number[row] - chosen[0] + 1:06d}@other.mrcs"
        return table

    def second(optics: Any) -> Any:
        size = {"rlnImagePixelSize": f"{native.pixel_size:g}", "rlnImageSize": str(native.box)}
        optics.loc[1] = {**optics.loc[0], "rlnOpticsGroup": "2", "rlnOpticsGroupName": "another camera", **size}
        return optics.iloc[::-1] if first else optics

    toy.change(regroup)
    toy.change(second, "optics")


def groups(native: Grid, *, first: bool, with_map: bool = True) -> Callable[[Toy], list[object]]:
    def command(toy: Toy) -> list[object]:
        split(toy, native, first=first)
        return toy.check() if with_map else ["check", toy.particles]

    return command


def optics(**values: str) -> Callable[[Toy], list[object]]:
    def command(toy: Toy) -> list[object]:
        toy.change(lambda table: table.assign(**values), "optics")
        return toy.check()

    return command


def unknown_group(toy: Toy) -> list[object]:
    def change(table: Any) -> Any:
        table.loc[5, "rlnOpticsGroup"] = "7"
        return table

    toy.change(change)
    return toy.check()


def volume(which: str, box: int, pixel_size: float) -> Callable[[Toy], list[object]]:
    def command(toy: Toy) -> list[object]:
        path = getattr(toy, which)
        write_map(path, read_map(path).data[:box, :box, :box], pixel_size)
        return toy.check()

    return command


def small_group(toy: Toy) -> list[object]:
    split(toy, Grid(BOX, PIXEL), first=False)
    toy.change(lambda table: table.assign(rlnOpticsGroup=["1"] * 117 + ["2"] * 3))
    return toy.check()


FINE, COARSE = Grid(52, 4.0), Grid(24, 8.0)
FAULTS = [
    Fault("O-01", "a group that does not exist", unknown_group, 3,
          ("column rlnOpticsGroup, row 5", "not in the optics table", "found 7")),
    Fault("O-02", "finer pixels in the second group", groups(FINE, first=False), 0,
          ("group 2: 60 images of 52 pixels of 4 Å", "the map's 32 pixels of 6 Å", "particles: 120 used")),
    Fault("O-03", "a larger box in the first group", groups(FINE, first=True), 0,
          ("group 2: 60 images of 52 pixels of 4 Å", "the map's 32 pixels of 6 Å", "particles: 120 used")),
    Fault("O-02", "other pixels and no map", groups(FINE, first=False, with_map=False), 3,
          ("particles.star", "found 52 pixels", "relion_image_handler")),
    Fault("O-02", "coarser pixels than the map's", groups(COARSE, first=False), 3,
          ("column rlnOpticsGroup", "show less detail than the map", "--rescale_angpix 8 --new_box 24")),
    Fault("O-03", "a smaller field than the map's", groups(Grid(24, 6.0), first=True), 3,
          ("column rlnOpticsGroup", "show a smaller field than the map", "--new_box 24")),
    Fault("O-04", "a size that is not the stack's", optics(rlnImageSize="64"), 3,
          ("column rlnImageSize", "expected 64 pixels; found 32 pixels", "the stack this table was made with")),
    Fault("O-05", "a name of their own for groups", optics(rlnOpticsGroupName="Krios K3 2024"), 0,
          ("group 1 with 120 particles", "particles: 120 used", "nothing wrong")),
    Fault("O-06", "a group of three", small_group, 0,
          ("groups 1 with 117 particles, 2 with 3 particles", "particles: 120 used", "nothing wrong")),
    Fault("O-07", "a map of a slightly other pixel size", volume("map", 32, 6.01), 3,
          ("consensus.mrc", "expected 6 Å; found 6.01 Å", "--force_header_angpix 6")),
    Fault("O-08", "a pixel size nobody set", volume("map", 32, 1.0), 3,
          ("consensus.mrc", "which other programs write when they do not know it", "--force_header_angpix 6")),
    Fault("O-09", "a mask of another box", volume("mask", 24, 6.0), 3,
          ("mask.mrc", "expected 32 voxels; found 24 voxels", "--new_box 32")),
    Fault("O-09", "a mask of another pixel size", volume("mask", 32, 5.0), 3,
          ("mask.mrc", "expected 6 Å; found 5 Å", "--force_header_angpix 6")),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.row}-{fault.given}")
def test_fault(fault: Fault, toy: Toy, command: Command) -> None:
    prove(fault, toy, command)


def test_O_02_a_run_on_two_cameras_ends_like_one_on_one(toy: Toy, command: Command) -> None:
    split(toy, FINE, first=False)
    outcome = command(*toy.train())
    assert outcome.code == 0, outcome.err
    assert len(read_star(toy.run / "particles.star").blocks["particles"]) == 120
