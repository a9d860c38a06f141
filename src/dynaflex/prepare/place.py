"""Where the maps of a run lie: where the consensus lies that it was started with."""

from __future__ import annotations

from dynaflex.data.placed import Frame
from dynaflex.grid import Grid
from dynaflex.io.mrc import Place
from dynaflex.run.directory import Run
from dynaflex.run.files import GRID, read_grids


def write_frame(run: Run, frame: Frame, train: Grid) -> None:
    """Write down the voxels of the consensus, and those that are trained on."""
    run.write_json(
        GRID,
        {
            "box": frame.grid.box,
            "pixel_size": frame.grid.pixel_size,
            "train_box": train.box,
            "train_pixel_size": train.pixel_size,
            "origin": list(frame.place.origin),
            "start": list(frame.place.start),
        },
    )


def frame_of(run: Run) -> Frame:
    """The voxels of the map that the run was started with, whether or not it is still there."""
    stored = read_grids(run)
    return Frame(stored.full, stored.place)


def place_of(run: Run, grid: Grid) -> Place:
    """The place of a map of the run on ``grid``, whose voxels may be coarser than those of the consensus."""
    frame = frame_of(run)
    return frame.place.resampled(frame.grid.pixel_size, grid.pixel_size)
