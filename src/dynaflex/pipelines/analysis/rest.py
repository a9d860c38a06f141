"""The map of a half that conformations are made of."""

from __future__ import annotations

import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.io.mrc import read_map
from dynaflex.pipelines.predict import TrainedHalf
from dynaflex.pipelines.run import Run
from dynaflex.shapes import Tensor
from dynaflex.validate.fsc import fourier_shell_correlation, resolution_at


def map_at_rest(run: Run, trained: TrainedHalf) -> tuple[Tensor, Grid]:
    """The corrected half-map ``(d d d)``, low-passed to where its FSC with the other half falls to 0.5, and its grid;
    before there are half-maps, the trained density."""
    names = [run.maps / f"map_half{half}.mrc" for half in (trained.half, 3 - trained.half)]
    if not all(name.exists() for name in names):
        return trained.model.density.volume(trained.model.grid), trained.model.grid
    own, other = (read_map(name) for name in names)
    grid = Grid(own.box, own.pixel_size or 1.0)
    volume = torch.from_numpy(own.data)
    fsc = fourier_shell_correlation(volume, torch.from_numpy(other.data))
    resolution = resolution_at(grid.shell_frequencies(), fsc, 0.5)
    return (volume if resolution is None else fourier.low_pass(volume, grid, resolution)), grid
