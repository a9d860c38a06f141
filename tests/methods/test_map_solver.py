"""Laws of the canonical map: what is solved for is what the images of others would show, and nothing of their noise."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from dynaflex import fourier
from dynaflex.deformation.mesh_flow import MeshFlow
from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.noise import noise_weights
from dynaflex.imaging.pose import Pose
from dynaflex.latents.table import LatentTable
from dynaflex.losses.data import data_loss
from dynaflex.mesh.build import lattice
from dynaflex.mesh.voxels import cell_of_voxels
from dynaflex.methods.meshed.folds import by_fold, of_the_others
from dynaflex.methods.meshed.map_solver import MapSolver
from dynaflex.model import FlexModel
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor

GRID = Grid(24, 4.0)
CPU = torch.device("cpu")
BAND = 10
ALL = 1200
TRAINED, HELD = torch.arange(800), torch.arange(800, ALL)
NOISE = 4.0
"""Standard deviation a pixel, where that of the signal is about 1: high shells drown in it."""

POWER = torch.full((GRID.n_shells,), NOISE**2)


def ball(radius: float) -> Tensor:
    """Which voxels ``(d d d)`` lie within ``radius`` Å of the origin."""
    return (GRID.radius_of_points() < radius).view(24, 24, 24)


HOLLOW = ball(36.0) & ~ball(24.0)


@dataclass
class Images:
    """Particles at random poses and defocus values, of which ``TRAINED`` are for training."""

    pose: Pose
    ctf: Tensor
    coefficients: Tensor
    device: torch.device = CPU
    grid: Grid = GRID

    @property
    def particle(self) -> Tensor:
        """Every row shows its own."""
        return torch.arange(len(self.coefficients))

    def batch(self, index: Tensor, latents: Tensor | None = None) -> Batch:
        images = self.coefficients[index]
        pose = Pose(self.pose.rotation[index], self.pose.shift[index])
        return Batch(index, pose, self.ctf[index], lambda: images, latents=latents)


def model_of(within: Tensor) -> FlexModel:
    """A map of zeros on a mesh around the voxels ``within`` ``(d d d)``, and no motion."""
    mesh = lattice(within, GRID, 8)
    cell = cell_of_voxels(mesh, GRID)
    density = CanonicalMap(torch.zeros(within.shape), GRID, mesh, cell)
    generator = torch.Generator().manual_seed(0)
    flow = MeshFlow(mesh, 1, density.sites, density.cell, GRID.pixel_size, layers=2, width=4, generator=generator)
    return FlexModel(density, flow, LatentTable(ALL, 1, generator, spread=0.0), GRID)


def images_of(model: FlexModel, signal: float) -> Images:
    """What a molecule of random texture with ``signal`` in its standard deviation looks like in noise."""
    generator = torch.Generator().manual_seed(1)
    pose = Pose(random_rotations(ALL, generator).float(), torch.zeros(ALL, 2))
    chi = GRID.radius(2).square() * (20.0 + 20.0 * torch.rand(ALL, generator=generator))[:, None, None]
    ctf = torch.sin(0.1 + chi)
    texture = fourier.low_pass(torch.randn(24, 24, 24, generator=generator), GRID, 12.0)
    density = on_map(model)
    density.values.copy_(texture.flatten()[density.voxels] * signal)
    clean = model.render(density.points(), pose, ctf)
    noise = NOISE * torch.randn(ALL, 24, 24, generator=generator)
    density.values.zero_()
    return Images(pose, ctf, clean + fourier.transform(noise, 2))


def on_map(model: FlexModel) -> CanonicalMap:
    assert isinstance(model.density, CanonicalMap)
    return model.density


def solved(model: FlexModel, images: Images) -> Tensor:
    """The maps from either fold of the particles in training, ``(2 n)``; the model has their mean."""
    solver = MapSolver(model, on_map(model), images, TRAINED)
    maps = solver.solved(
        lambda index: torch.zeros(len(index), 1), POWER, band=BAND, iterations=3, every_batch=lambda *_: None
    )
    on_map(model).values.copy_(maps.mean(dim=0))
    return maps


def gains(model: FlexModel, images: Images, index: Tensor) -> Tensor:
    """Nats by which the model's map explains each of the images ``index`` better than nothing does, ``(p)``."""
    batch = images.batch(index)
    prediction = model.render(model.density.points(), batch.pose, batch.ctf)
    weights, nothing = noise_weights(POWER, GRID), torch.zeros_like(prediction)
    return data_loss(nothing, batch.coefficients, weights) - data_loss(prediction, batch.coefficients, weights)


def gains_of_either(model: FlexModel, images: Images, maps: Tensor, index: Tensor) -> Tensor:
    """The same with either of the ``maps`` ``(2 n)``, ``(2 p)``."""
    found = []
    for values in maps:
        on_map(model).values.copy_(values)
        found.append(gains(model, images, index))
    return torch.stack(found)


@pytest.mark.parametrize("signal", [0.3, 1.0])
def test_particles_in_training_are_explained_as_those_held_out_are(signal: float) -> None:
    model = model_of(ball(28.0))
    images = images_of(model, signal)
    maps = solved(model, images)
    folds = by_fold(images.batch(TRAINED), images.particle)
    crossed = []
    for batch in folds:
        with of_the_others(on_map(model), maps, batch, images.particle):
            crossed.append(gains(model, images, batch.index))
    training = torch.cat(crossed)
    either, held_out = (
        gains_of_either(model, images, maps, index).mean(dim=0)
        for index in (torch.cat([batch.index for batch in folds]), HELD)
    )
    error = float(training.std()) * (1 / len(training) + 1 / len(held_out)) ** 0.5
    assert float(training.mean()) == pytest.approx(float(held_out.mean()), abs=3.0 * error)
    # One of the maps was made from the particle itself, and is too good.
    bias = either - training
    assert float(bias.mean()) > 5.0 * float(bias.std()) / len(bias) ** 0.5
    assert float(training.mean()) > 0.0


@pytest.mark.parametrize("within", [ball(28.0), HOLLOW], ids=["ball", "hollow"])
def test_of_noise_no_map_is_made(within: Tensor) -> None:
    model = model_of(within)
    images = images_of(model, 0.0)
    solved(model, images)
    assert float(gains(model, images, TRAINED).mean()) < 0.05
    assert float(gains(model, images, HELD).mean()) > -0.01


@pytest.mark.parametrize("within", [ball(28.0), HOLLOW], ids=["ball", "hollow"])
def test_images_that_were_held_out_ask_for_the_map_as_strong_as_it_is(within: Tensor) -> None:
    model = model_of(within)
    images = images_of(model, 1.0)
    solved(model, images)
    found = on_map(model).values.clone()
    gained = []
    for strength in (0.85, 1.0, 1.15):
        on_map(model).values.copy_(strength * found)
        gained.append(float(gains(model, images, HELD).mean()))
    assert gained[1] == max(gained)


def test_the_map_that_stood_leaves_no_trace() -> None:
    model = model_of(ball(28.0))
    images = images_of(model, 1.0)
    first = solved(model, images)
    on_map(model).values.normal_()
    assert torch.equal(first, solved(model, images))


def test_the_model_keeps_its_map() -> None:
    model = model_of(ball(28.0))
    density = on_map(model)
    kept = density.values.clone()
    images = images_of(model, 1.0)
    maps = torch.stack([kept + 1.0, kept + 2.0])
    for batch in by_fold(images.batch(torch.arange(7)), images.particle):
        fold = int(batch.index[0]) % 2
        with of_the_others(density, maps, batch, images.particle):
            assert torch.equal(density.values, maps[1 - fold])
        with pytest.raises(MemoryError), of_the_others(density, maps, batch, images.particle):
            raise MemoryError
        with of_the_others(density, torch.zeros(0), batch, images.particle):
            assert torch.equal(density.values, kept)
    assert torch.equal(density.values, kept)
