from __future__ import annotations

import numpy as np
import pytest
import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.imaging.resample import fits, resampled


def blobs(grid: Grid) -> np.ndarray:
    """Gaussians of 4 Å and more, at places in Å: far above the detail that any grid here can show."""
    axis = (np.arange(grid.box) - grid.box // 2) * grid.pixel_size
    places = [(3.0, -5.0, 4.0), (-6.3, 2.2, 5.5), (0.0, 0.0, 4.5)]
    return np.stack(
        [np.exp(-((axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2) / (2 * s**2)) for x, y, s in places]
    ).astype(np.float32)


@pytest.mark.parametrize(
    ("native", "grid"),
    [
        (Grid(64, 1.5), Grid(32, 3.0)),
        (Grid(64, 1.5), Grid(60, 1.53)),
        (Grid(66, 1.47), Grid(64, 1.5)),
        (Grid(80, 1.31), Grid(40, 2.3)),
        (Grid(65, 1.5), Grid(32, 2.9)),
        (Grid(64, 1.5), Grid(48, 1.5)),
    ],
)
def test_a_smooth_image_is_itself_on_every_grid(native: Grid, grid: Grid) -> None:
    assert fits(native, grid)
    np.testing.assert_allclose(resampled(blobs(native), native, grid), blobs(grid), atol=2e-4)


def test_in_the_same_field_of_view_it_is_a_fourier_crop() -> None:
    images = np.random.default_rng(0).normal(size=(3, 48, 48)).astype(np.float32)
    ours = torch.from_numpy(resampled(images, Grid(48, 1.0), Grid(32, 1.5)))
    theirs = fourier.crop_images(torch.from_numpy(images), 32)
    inside = fourier.transform(ours, 2)[:, :, :16] - fourier.transform(theirs, 2)[:, :, :16]
    # The two share Nyquist's coefficient among its neighbours in different ways.
    kept = torch.arange(32) != 16
    assert float(inside[:, kept].abs().max()) < 1e-3


def test_the_same_grid_changes_nothing() -> None:
    images = np.random.default_rng(0).normal(size=(2, 16, 16)).astype(np.float32)
    np.testing.assert_allclose(resampled(images, Grid(16, 2.0), Grid(16, 2.0)), images, atol=1e-5)


def test_white_noise_keeps_its_power_below_the_new_nyquist() -> None:
    noise = np.random.default_rng(1).normal(size=(200, 64, 64)).astype(np.float32)
    out = resampled(noise, Grid(64, 1.0), Grid(30, 2.0))
    assert out.var() == pytest.approx(0.25, rel=0.05)


def test_what_cannot_be_seen_does_not_fit() -> None:
    assert not fits(Grid(64, 3.0), Grid(64, 1.5))
    assert not fits(Grid(32, 1.5), Grid(64, 1.5))
    assert fits(Grid(64, 1.52), Grid(64, 1.5))
