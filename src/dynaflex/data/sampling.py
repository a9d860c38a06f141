"""One grid for all images: their own where they agree, the map's where optics groups differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dynaflex.data.columns import ParticleColumns
from dynaflex.data.image_files import ImageFiles
from dynaflex.data.optics import require_pixel_sizes
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.imaging.resample import fits
from dynaflex.shapes import IntArray

# A thousandth moves the edge of a box of 400 pixels by a fifth of a pixel.
_SAME = 1e-3


def on_one_grid(
    columns: ParticleColumns, files: ImageFiles, rows: IntArray, source: str, grid: Grid | None, warnings: list[str]
) -> tuple[ImageFiles, Grid]:
    """The images of the particles at ``rows``, all on one grid, and that grid.

    Where optics groups have different pixel sizes or boxes, all are brought to ``grid``, that of the map. ``source``
    is the column that pixel sizes come from.

    Raises:
        InputError: a pixel size that is none, or optics groups that differ and no grid that all of them can be
            brought to.
    """
    native = files.native[rows]
    sizes = np.array([files.natives[i].pixel_size for i in native])
    boxes = np.array([files.natives[i].box for i in native])
    require_pixel_sizes(columns, sizes, rows, source)
    middle = float(np.median(sizes))
    if (boxes == boxes[0]).all() and (np.abs(sizes - middle) <= _SAME * middle).all():
        common = Grid(int(boxes[0]), middle)
        return replace(files, natives=(common,), native=np.zeros_like(files.native)), common
    if grid is None:
        raise _different(columns, files, rows, source, boxes, sizes)
    for i in np.unique(native):
        first = int(rows[np.flatnonzero(native == i)[0]])
        if files.natives[i] != grid:
            _check_fit(columns, files, first, files.natives[i], grid)
            warnings.append(
                f"optics group {columns.group[first]}: {int((native == i).sum())} images of {_words(files.natives[i])} "
                f"are resampled to the map's {_words(grid)}"
            )
    return files, grid


def _different(
    columns: ParticleColumns, files: ImageFiles, rows: IntArray, source: str, boxes: IntArray, sizes: np.ndarray
) -> InputError:
    """The first image that does not fit the first, and how to make it fit."""
    other = np.flatnonzero(boxes != boxes[0])
    target = Grid(int(boxes[0]), float(sizes[0]))
    if other.size:
        i = int(other[0])
        stacks = [files.stacks[files.stack[rows[j]]].path for j in (0, i)]
        return InputError(
            "particles.box",
            f"the images have different boxes ({stacks[0]} and {stacks[1]})",
            file=columns.path, field="rlnImageSize", row=int(rows[i]),
            expected=f"{boxes[0]} pixels", found=f"{boxes[i]} pixels",
            fix=f"give --map, whose grid all are then brought to, or {_command(stacks[1], float(sizes[i]), target)}",
        )  # fmt: skip
    i = int(np.flatnonzero(np.abs(sizes - sizes[0]) > 0.5 * _SAME * sizes[0])[0])
    stack = files.stacks[files.stack[rows[i]]].path
    return InputError(
        "particles.pixel-size",
        "the particles have different pixel sizes",
        file=columns.path, field=source, row=int(rows[i]),
        expected=f"{sizes[0]:.5g} Å", found=f"{sizes[i]:.5g} Å",
        fix=f"give --map, whose grid all are then brought to, or {_command(stack, float(sizes[i]), target)}",
    )  # fmt: skip


def _check_fit(columns: ParticleColumns, files: ImageFiles, row: int, native: Grid, grid: Grid) -> None:
    if fits(native, grid):
        return
    stack = files.stacks[files.stack[row]].path
    problem = "show less detail" if native.width > grid.width - 2.0 * grid.pixel_size else "show a smaller field"
    raise InputError(
        "particles.sampling",
        f"these images {problem} than the map, and cannot be brought to its grid",
        file=columns.path, field="rlnOpticsGroup", row=row,
        expected=f"at least {_words(grid)}", found=f"{_words(native)} in {stack}",
        fix=f"give a map on their grid: relion_image_handler --i MAP --angpix {grid.pixel_size:.5g} "
        f"--rescale_angpix {native.pixel_size:.5g} --new_box {native.box} --o map_rescaled.mrc",
    )  # fmt: skip


def _words(grid: Grid) -> str:
    return f"{grid.box} pixels of {grid.pixel_size:.5g} Å"


def _command(stack: object, pixel_size: float, target: Grid) -> str:
    return (
        f"relion_image_handler --i {stack} --angpix {pixel_size:.5g} --rescale_angpix {target.pixel_size:.5g} "
        f"--new_box {target.box} --o resampled"
    )
