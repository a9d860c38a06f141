"""Laws of coordinates, frequencies and shells."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dynaflex.grid import Grid

BOXES = [8, 9, 32, 33]


@pytest.mark.parametrize("box", BOXES)
def test_origin_is_sample_half_the_box(box: int) -> None:
    grid = Grid(box, 1.7)
    axis = grid.axis(dtype=torch.float64)
    assert axis[box // 2] == 0.0
    assert torch.allclose(axis.diff(), torch.full((box - 1,), 1.7, dtype=torch.float64))
    assert grid.center == box // 2
    assert grid.width == pytest.approx(box * 1.7)


def test_points_are_xyz_in_the_memory_order_of_zyx_volumes() -> None:
    grid = Grid(6, 2.0)
    volume = torch.zeros(6, 6, 6)
    volume[1, 4, 5] = 1.0
    point = grid.points()[int(volume.flatten().argmax())]
    assert point.tolist() == [(5 - 3) * 2.0, (4 - 3) * 2.0, (1 - 3) * 2.0]


@pytest.mark.parametrize("box", BOXES)
def test_frequencies_are_numpys(box: int) -> None:
    kx, ky = Grid(box, 1.3).frequencies(dtype=torch.float64)
    assert np.allclose(kx[0], np.fft.rfftfreq(box, 1.3))
    assert np.allclose(ky[:, 0], np.fft.fftfreq(box, 1.3))
    assert (kx + ky).shape == (box, box // 2 + 1)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("dim", [2, 3])
def test_shells_are_relions_rounded_radii(box: int, dim: int) -> None:
    """``ROUND(sqrt(ip² + jp² + kp²))``, which rounds halves up."""
    signed = np.round(np.fft.fftfreq(box) * box)
    axes = np.meshgrid(*([signed] * (dim - 1)), np.arange(box // 2 + 1), indexing="ij")
    expected = np.vectorize(lambda r: int(r + 0.5))(np.sqrt(sum(axis**2 for axis in axes)))
    assert np.array_equal(Grid(box, 1.0).shells(dim).numpy(), expected)


def test_shell_frequencies_run_from_zero_to_nyquist() -> None:
    grid = Grid(64, 2.5)
    frequencies = grid.shell_frequencies()
    assert len(frequencies) == grid.n_shells == 33
    assert frequencies[0] == 0.0
    assert float(frequencies[-1]) == pytest.approx(grid.nyquist)
    assert grid.nyquist == pytest.approx(0.2)


def test_radius_is_the_frequency_in_samples() -> None:
    grid = Grid(12, 1.9)
    kx, ky = grid.frequencies(dtype=torch.float64)
    assert torch.allclose(grid.radius(2).double(), (kx.square() + ky.square()).sqrt() * grid.width, atol=1e-5)
    assert float(grid.radius(3)[3, 4, 2]) == pytest.approx(math.sqrt(29))


def test_cropping_keeps_the_width_and_coarsens_the_pixels() -> None:
    cropped = Grid(96, 1.0).cropped(64)
    assert cropped.box == 64
    assert cropped.width == pytest.approx(96.0)
    assert cropped.pixel_size == pytest.approx(1.5)
