"""Laws of the likelihood through the program's own path: images read, noise learned, latents searched for.

A nat is a nat for any box, circle, pixel and training box, so that a free coordinate gains half of one from noise, and
the width of a posterior is that of the errors.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dynaflex.data.particles import Particles, read_particles
from dynaflex.data.preprocess import circular_mask
from dynaflex.grid import Grid
from dynaflex.io.mrc import ImageStack, write_stack
from dynaflex.latents.prior import GAUSSIAN, LatentPrior
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.images import Imaging
from dynaflex.shapes import FloatArray
from dynaflex.training.contrast import Contrasts
from dynaflex.training.steps import Progress
from swinging import CPU, Ball, Noise, coloured, search, white

FREE = LatentPrior(1e-4, 2.0)
AXES = 3


def half_of(particles: Particles, diameter: float, train_box: int) -> HalfSet:
    grid = particles.grid
    edge = min(20.0, 0.5 * (grid.width - diameter))
    return HalfSet(particles, 0, Imaging(grid.cropped(train_box), diameter, edge), CPU)


def neighbours(random: np.random.Generator, count: int, box: int) -> FloatArray:
    """White noise, and smooth spots three times as strong in the outer part of the image, as other particles are."""
    grid = Grid(box, 1.0)
    ring = (1.0 - circular_mask(grid, 0.75 * box, 0.1 * box)).numpy()
    spots = np.repeat(np.repeat(white(random, count, box // 4), 4, axis=1), 4, axis=2)
    return np.asarray(white(random, count, box) + 3.0 * ring * spots, dtype=np.float32)


@pytest.mark.parametrize("train_box", [32, 64])
@pytest.mark.parametrize(
    ("width", "diameter", "noise"),
    [
        (192.0, 120.0, white),
        (192.0, 150.0, coloured),
        (256.0, 120.0, neighbours),
        (256.0, 190.0, white),
        (300.0, 110.0, coloured),
    ],
)
def test_a_free_coordinate_gains_half_a_nat_from_noise(
    width: float, diameter: float, noise: Noise, train_box: int, tmp_path: Path
) -> None:
    ball, count = Ball.of(0.35 * diameter, math.radians(10.0)), 400
    particles = ball.images(tmp_path, Grid(64, width / 64), torch.zeros(count, AXES), 0.1, noise)
    data = half_of(particles, diameter, train_box)
    found = search(data, ball.model(data.grid, AXES), FREE, AXES)
    assert float(found.gain.mean()) / AXES == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("noise", [white, coloured])
@pytest.mark.parametrize("snr", [0.05, 0.3])
def test_errors_are_as_large_as_they_are_said_to_be(noise: Noise, snr: float, tmp_path: Path) -> None:
    truth = torch.randn(400, 2, generator=torch.Generator().manual_seed(1))
    # Steps of Gauss-Newton from rest come as far as this.
    ball = Ball.of(40.0, math.radians(5.0))
    data = half_of(ball.images(tmp_path, Grid(48, 4.0), truth, snr, noise), 110.0, 32)
    found = search(data, ball.model(data.grid, 2), GAUSSIAN, 2).latents
    pull = (found.mean - truth) / found.log_scale.exp()
    assert 0.9 < float(pull.std()) < 1.15
    assert float(found.log_scale.exp().median()) < 0.5, "images that say nothing prove nothing"


@pytest.mark.parametrize("surround", ["noise", "nothing"])
def test_padding_changes_no_latent(surround: str, tmp_path: Path) -> None:
    """The same images in a wider box have the same latents, as surely known."""
    truth = torch.randn(300, 2, generator=torch.Generator().manual_seed(1))
    ball = Ball.of(35.0, math.radians(6.0))
    small = ball.images(tmp_path / "small", Grid(32, 6.0), truth, 0.1, white)
    found = {}
    for name, particles in (("small", small), ("wide", _padded(small, tmp_path / "wide", surround))):
        data = half_of(particles, 100.0, particles.grid.box)
        found[name] = search(data, ball.model(data.grid, 2), GAUSSIAN, 2).latents
    one, other = found["small"], found["wide"]
    for k in range(2):
        assert float(torch.corrcoef(torch.stack([one.mean[:, k], other.mean[:, k]]))[0, 1]) > 0.99
    assert float((other.log_scale - one.log_scale).exp().median()) == pytest.approx(1.0, abs=0.1)


def _padded(particles: Particles, folder: Path, surround: str) -> Particles:
    """The same table, with images half as wide again."""
    folder.mkdir()
    source = particles.image_paths[0]
    images = ImageStack.open(source).read(np.arange(len(particles)))
    box = images.shape[1]
    shape = (len(images), 3 * box // 2)
    wide = white(np.random.default_rng(9), *shape) if surround == "noise" else np.zeros((*shape, shape[1]), np.float32)
    wide[:, box // 4 : -(box // 4), box // 4 : -(box // 4)] = images
    write_stack(folder / source.name, wide, particles.grid.pixel_size)
    table = source.with_suffix(".star").read_text().replace(f"\t{box}\t", f"\t{shape[1]}\t")
    (folder / "particles.star").write_text(table)
    return read_particles(folder / "particles.star")


def test_a_free_coordinate_gains_half_a_nat_from_the_noise_of_each_group(tmp_path: Path) -> None:
    """Of two groups, one has four times the noise, and another colour."""
    ball, count = Ball.of(40.0, math.radians(10.0)), 600

    def in_groups(random: np.random.Generator, count: int, box: int) -> FloatArray:
        noise = white(random, count, box)
        noise[::2] = 2.0 * coloured(random, count // 2, box)
        return noise

    particles = ball.images(tmp_path, Grid(48, 4.0), torch.zeros(count, AXES), 0.1, in_groups)
    data = half_of(replace(particles, group=np.arange(count) % 2), 120.0, 32)
    model = ball.model(data.grid, AXES)
    # Images are normalised: what has more noise shows more faintly.
    Contrasts(data, torch.arange(count), Progress(noise_power=torch.ones(data.grid.n_shells))).begin(model)
    found = search(data, model, FREE, AXES)
    for group in (0, 1):
        assert float(found.gain[group::2].mean()) / AXES == pytest.approx(0.5, abs=0.06)
