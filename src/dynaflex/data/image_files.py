"""From the image names of a particle table to the stacks on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dynaflex.data.columns import ParticleColumns
from dynaflex.errors import InputError
from dynaflex.io.mrc import ImageStack
from dynaflex.shapes import BoolArray, IntArray


@dataclass(frozen=True)
class ImageFiles:
    """Where the image of every particle lies: ``stacks[stack[i]]``, image ``index[i]`` from 0; both ``(p)``."""

    stacks: tuple[ImageStack, ...]
    stack: IntArray
    index: IntArray

    @property
    def box(self) -> int:
        """Pixels a side, the same in all stacks."""
        return self.stacks[0].box


def find_images(columns: ParticleColumns, datadir: Path | None) -> ImageFiles:
    """Find and open every stack, and check that it has the images asked for.

    A name is looked for as it is written, in ``datadir``, in the folders above the STAR file (RELION writes names
    relative to the project), and last by its bare file name in ``datadir`` and beside the STAR file.

    Raises:
        InputError: a stack that is missing or damaged, stacks of different boxes, or an image they do not have.
    """
    number, code, names = _split_names(columns)
    paths = _find_stacks(columns.path, names, datadir)
    stacks = tuple(ImageStack.open(path) for path in paths)
    present = np.array([stack.n_images for stack in stacks], dtype=np.int64)[code]
    outside = np.flatnonzero((number < 1) | (number > present))
    if outside.size:
        row = int(outside[0])
        raise InputError(
            "star.image-index",
            f"{stacks[code[row]].path} has no such image",
            file=columns.path,
            field="rlnImageName",
            row=row,
            expected=f"1 to {present[row]}",
            found=f"{number[row]} ({outside.size} such rows)",
            fix="use the stack this table was made with; images are counted from 1",
        )
    boxes = np.array([stack.box for stack in stacks], dtype=np.int64)
    check_one_box(columns, boxes[code], [str(stack.path) for stack in stacks], code)
    return ImageFiles(stacks, code, number - 1)


def check_one_box(columns: ParticleColumns, box: IntArray, stacks: list[str], stack: IntArray) -> None:
    """Raise an InputError unless all images have one box, and the box their optics group promises."""
    other = np.flatnonzero(box != box[0])
    if other.size:
        row = int(other[0])
        raise InputError(
            "particles.box",
            f"the images have different boxes ({stacks[stack[0]]} and {stacks[stack[row]]})",
            file=columns.path,
            row=row,
            expected=f"{box[0]} pixels",
            found=f"{box[row]} pixels",
            fix="extract all particles with one box and pixel size, or use one optics group",
        )
    promised = columns.number("rlnImageSize")
    wrong = np.flatnonzero(~np.isnan(promised) & (promised != box))
    if wrong.size:
        row = int(wrong[0])
        raise InputError(
            "particles.image-size",
            f"the images in {stacks[stack[row]]} do not have the size the table gives",
            file=columns.path,
            field="rlnImageSize",
            row=row,
            expected=f"{promised[row]:g} pixels",
            found=f"{box[row]} pixels",
            fix="use the stack this table was made with",
        )


def _split_names(columns: ParticleColumns) -> tuple[IntArray, IntArray, list[str]]:
    """The image number from 1 ``(p)``, the code of its stack ``(p)``, and the names of the stacks.

    A name without ``@`` is a file with a single image.
    """
    names = pd.Series(columns.text("rlnImageName"), dtype=object)
    parts = names.str.partition("@")
    plain: BoolArray = (parts[1] == "").to_numpy(dtype=bool)
    number = pd.to_numeric(parts[0].where(~plain, "1"), errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~(number == np.floor(number)))
    if bad.size:
        raise InputError(
            "star.image-name",
            "this is not the name of an image",
            file=columns.path,
            field="rlnImageName",
            row=int(bad[0]),
            expected="NUMBER@STACK",
            found=names.iloc[int(bad[0])],
        )
    codes, unique = pd.factorize(parts[2].where(~plain, parts[0]))
    return number.astype(np.int64), codes.astype(np.int64), [str(name) for name in unique]


def _find_stacks(star: Path, names: list[str], datadir: Path | None) -> list[Path]:
    above = [str(folder) for folder in star.absolute().parents]
    data = [] if datadir is None else [str(datadir)]
    found: list[Path] = []
    missing: list[str] = []
    for name in names:
        tried = [name, *(os.path.join(folder, name) for folder in data + above)]
        tried += [os.path.join(folder, os.path.basename(name)) for folder in [*data, *above[:1], "."]]
        path = next((candidate for candidate in tried if os.path.isfile(candidate)), None)
        if path is None:
            missing.append(name)
        else:
            found.append(Path(path))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(
            "particles.missing-images",
            f"image file not found: {missing[0]}{more}",
            file=star,
            field="rlnImageName",
            expected=f"it at its path, in {datadir or '--datadir'}, in a folder above the STAR file, or beside it",
            fix="run from the RELION project folder, or give --datadir",
        )
    return found
