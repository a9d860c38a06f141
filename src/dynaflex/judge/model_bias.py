"""Whether the images hold the density that a model was given: the control for what an atomic model may bring in.

A model of wrong atoms can be carried by a motion until its image is in the corrected map (Fig. 3 of DynaMight's paper).
Rigid maps cannot take it up: they come from the images and their poses alone. What a rigid map shows is the mean of the
conformations, so that is what is taken of the model, too, and compared with the rigid map of the *other* half, whose
noise the model has not seen.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from dynaflex import fourier
from dynaflex.density.gaussians import GaussianDensity
from dynaflex.grid import Grid
from dynaflex.results.trained import TrainedHalf, load_half
from dynaflex.run.directory import Run
from dynaflex.run.files import has_map, read_grids, read_map
from dynaflex.shapes import Array, Tensor
from dynaflex.validate.controls import Control, density_in_images
from dynaflex.validate.fsc import fourier_shell_correlation

COARSEST, WINDOW = 24.0, 10.0
"""The longest period in Å that is compared, because blurred envelopes agree with anything, and the standard deviation
of the window around a point."""
_AGREEING = 0.5
_CONFORMATIONS = 64


def of_model_bias(run: Run) -> list[Control]:
    """The control of each half whose density was learned as Gaussians; none of a run without its rigid maps, or whose
    maps agree in no shell that is compared."""
    halves = [load_half(run, half) for half in (1, 2)]
    names = {half.half: f"rigid_half{half.half}" for half in halves}
    if not all(isinstance(half.model.density, GaussianDensity) and has_map(run, names[half.half]) for half in halves):
        return []
    grid = read_grids(run).full
    rigid = {half: torch.from_numpy(read_map(run, name).data) for half, name in names.items()}
    mask = torch.from_numpy(read_map(run, "mask").data)
    if rigid[1].shape[0] != grid.box or mask.shape != rigid[1].shape:
        return []
    band = _band(rigid[1], rigid[2], mask, grid)
    if band is None:
        return []
    seen = {half: _filtered(volume, grid, band) for half, volume in rigid.items()}
    noise = (seen[1] - seen[2]) / np.sqrt(2.0)
    controls = []
    for half in halves:
        model, points = _filtered(_mean_density(half, grid), grid, band), half.model.density.landmarks().numpy()
        share, error = share_in_images(model, seen[3 - half.half], noise, points, grid, band)
        words = "what the model has around each of its points must be in the rigid map of the other half"
        controls.append(density_in_images(f"density of the model, half {half.half}", share, error, words))
    return controls


def _band(first: Tensor, second: Tensor, mask: Tensor, grid: Grid) -> tuple[float, float] | None:
    """The frequencies in 1/Å from the longest period on to where two maps cease to agree."""
    agreement = fourier_shell_correlation(first, second, mask)
    below = (agreement[1:] < _AGREEING).nonzero()
    last = int(below[0]) if len(below) else len(agreement) - 1
    high = last / (grid.box * grid.pixel_size)
    return (1.0 / COARSEST, high) if high > 1.0 / COARSEST else None


def _filtered(volume: Tensor, grid: Grid, band: tuple[float, float]) -> Array:
    low, high = (fourier.low_pass(volume, grid, 1.0 / frequency) for frequency in band)
    return (high - low).double().numpy()


@torch.no_grad()
def _mean_density(half: TrainedHalf, grid: Grid) -> Tensor:
    """The mean ``(d d d)`` of the model over the conformations of some particles."""
    latents = half.latents.mean[:: -(-len(half.rows) // _CONFORMATIONS)]
    density = half.model.density
    assert isinstance(density, GaussianDensity)
    total = torch.zeros(())
    for conformation in latents:
        total = total + density.volume(grid, half.model.deformed(conformation[None])[0])
    return total / len(latents)


def share_in_images(
    model: Array, seen: Array, noise: Array, points: Array, grid: Grid, band: tuple[float, float]
) -> tuple[Array, Array]:
    """How much of a model's density a map has around points ``(n 3)``: 1 for all, with the standard error of it.

    The slopes ``(n)`` of the map ``seen`` ``(d d d)`` on the ``model`` ``(d d d)``, both in a ``band`` of frequencies
    in 1/Å, within windows around the points. Noise of the map, of the power of ``noise`` ``(d d d)``, does not bias
    them.
    """
    sigma = WINDOW / grid.pixel_size
    z, y, x = ((np.round(points / grid.pixel_size).astype(int) + grid.center) % grid.box).T[::-1]

    def around(values: Array) -> Array:
        return np.asarray(gaussian_filter(values, sigma, mode="wrap")[z, y, x])

    power = around(model * model)
    # So many independent values are in the window.
    independent = 4.0 / 3.0 * np.pi * (band[1] ** 3 - band[0] ** 3) * (2.0 * np.sqrt(np.pi) * WINDOW) ** 3
    return around(model * seen) / power, np.sqrt(around(noise * noise) / power / independent)
