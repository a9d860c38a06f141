"""From the image names of a particle table to the stacks on this machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from dynaflex.data.columns import ParticleColumns
from dynaflex.data.foreign.cryosparc import SIGN
from dynaflex.data.image_paths import cleaned, find_files
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.imaging.resample import resampled
from dynaflex.io.mrc import ImageStack, TruncatedStack
from dynaflex.shapes import Array, BoolArray, FloatArray, IntArray

_NAME = "rlnImageName"
# Beyond this a number is not exact as a float, and no stack holds as many.
_MOST_IMAGES = 2**50


@dataclass(frozen=True)
class ImageFiles:
    """Where the image of every particle lies: ``stacks[stack[i]]``, image ``index[i]`` from 0; all ``(p)``.

    ``sign`` is what an image is multiplied by, 1 or -1. Images are sampled as ``natives[native[i]]`` on disk. ``root``
    is the folder that their names are relative to, if there is one.
    """

    stacks: tuple[ImageStack, ...]
    stack: IntArray
    index: IntArray
    sign: FloatArray
    natives: tuple[Grid, ...]
    native: IntArray
    root: Path | None

    def take(self, positions: IntArray) -> ImageFiles:
        """The images at ``positions``, in that order."""
        return replace(
            self,
            stack=self.stack[positions],
            index=self.index[positions],
            sign=self.sign[positions],
            native=self.native[positions],
        )

    def numbers(self) -> IntArray:
        """The number of each particle's image ``(p)``, from 0 in the order in which images first occur."""
        place = self.stack.astype(np.int64) * (int(self.index.max(initial=0)) + 1) + self.index
        _, first, number = np.unique(place, return_index=True, return_inverse=True)
        rank = np.empty(len(first), dtype=np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        return np.asarray(rank[number.reshape(-1)])

    def require_whole(self, columns: ParticleColumns) -> None:
        """Refuse stacks that hold other images than the table has rows for, of all particles of a table.

        Raises:
            InputError: one does: which image shows which tilt is then not known.
        """
        listed = np.bincount(self.stack, minlength=len(self.stacks))
        for code, stack in enumerate(self.stacks):
            if stack.n_images != listed[code]:
                raise InputError(
                    "tomography.stack", "this stack has not an image for each tilt in which its particle is seen",
                    file=stack.path, expected=f"{listed[code]} images, as {columns.path} says", found=stack.n_images,
                    fix="give the table that was written with these stacks",
                )  # fmt: skip

    def read(self, positions: IntArray, grid: Grid) -> FloatArray:
        """The images at ``positions`` ``(n)``, white, on ``grid``, float32 ``(n h h)``."""
        images = np.empty((len(positions), grid.box, grid.box), dtype=np.float32)
        stack, native = self.stack[positions], self.native[positions]
        for code, sampling in np.unique(np.stack([stack, native], axis=1), axis=0):
            here = np.flatnonzero((stack == code) & (native == sampling))
            raw = self.stacks[code].read(self.index[positions[here]])
            on_disk = self.natives[sampling]
            images[here] = raw if on_disk == grid else resampled(raw, on_disk, grid)
        sign = self.sign[positions]
        if (sign != 1.0).any():
            images *= sign[:, None, None]
        return images


def find_images(
    columns: ParticleColumns, pixel_size: Array, datadir: Path | None, strip_prefix: str | None
) -> ImageFiles:
    """Find and open every stack, and check that it has the images asked for; ``pixel_size`` ``(p)`` is in Å.

    ``datadir`` and ``strip_prefix`` are those of :func:`dynaflex.data.image_paths.find_files`.

    Raises:
        InputError: a stack that is missing or damaged, an image it does not have, or one of another size than the
            table says.
    """
    number, code, names = _split_names(columns)
    _, first = np.unique(code, return_index=True)
    paths, root = find_files(columns.path, names, first.tolist(), datadir, strip_prefix)
    stacks = _open_stacks(columns, paths, code, number)
    present = np.array([stack.n_images for stack in stacks], dtype=np.int64)[code]
    outside = np.flatnonzero((number < 1) | (number > present))
    if outside.size:
        row = int(outside[0])
        raise InputError(
            "star.image-index",
            f"{stacks[code[row]].path} has no such image",
            file=columns.path,
            field=_NAME,
            row=row,
            expected=f"{columns.words.counted(_NAME, 1)} to {columns.words.counted(_NAME, int(present[row]))}",
            found=f"{columns.words.counted(_NAME, int(number[row]))} ({outside.size} such rows)",
            fix="use the stack this table was made with; images are counted from 1",
        )
    box = np.array([stack.box for stack in stacks], dtype=np.int64)[code]
    check_image_size(columns, box, [str(stack.path) for stack in stacks], code)
    sampling, native = np.unique(np.stack([box, pixel_size], axis=1), axis=0, return_inverse=True)
    return ImageFiles(
        tuple(stacks),
        code,
        number - 1,
        columns.number(SIGN, 1.0).astype(np.float32),
        tuple(Grid(int(n), float(size)) for n, size in sampling),
        native.reshape(-1).astype(np.int64),
        root,
    )


def check_image_size(columns: ParticleColumns, box: IntArray, stacks: list[str], stack: IntArray) -> None:
    """Raise an InputError unless every image ``(p)`` has the box that its optics group promises."""
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


def _open_stacks(columns: ParticleColumns, paths: list[Path], code: IntArray, number: IntArray) -> list[ImageStack]:
    stacks = []
    for i, path in enumerate(paths):
        try:
            stacks.append(ImageStack.open(path))
        except TruncatedStack as cut:
            lost = np.flatnonzero((code == i) & (number > cut.present))
            needed = f", needed first by row {lost[0]} of {columns.path}" if lost.size else ""
            raise InputError(
                "mrc.truncated",
                f"{cut.problem}{needed}",
                file=path, expected=cut.expected, found=cut.found, fix=cut.fix,
            ) from cut  # fmt: skip
    return stacks


def _split_names(columns: ParticleColumns) -> tuple[IntArray, IntArray, list[str]]:
    """The image number from 1 ``(p)``, the code of its stack ``(p)``, and the names of the stacks.

    A name without ``@`` is a file with a single image.
    """
    names = pd.Series(columns.text(_NAME), dtype=object)
    parts = names.str.partition("@")
    plain: BoolArray = (parts[1] == "").to_numpy(dtype=bool)
    number = pd.to_numeric(parts[0].where(~plain, "1"), errors="coerce").to_numpy(dtype=np.float64)
    stack = parts[2].where(~plain, parts[0])
    bad = np.flatnonzero(~(number == np.floor(number)) | (np.abs(number) > _MOST_IMAGES) | (stack == "").to_numpy())
    if bad.size:
        raise InputError(
            "star.image-name",
            "this is not the name of an image",
            file=columns.path,
            field=_NAME,
            row=int(bad[0]),
            expected="NUMBER@STACK",
            found=names.iloc[int(bad[0])],
            fix="correct this name, or remove the row",
        )
    codes, unique = pd.factorize(stack)
    same, clean = pd.factorize(np.array([cleaned(str(name)) for name in unique], dtype=object))
    return number.astype(np.int64), same[codes].astype(np.int64), [str(name) for name in clean]
