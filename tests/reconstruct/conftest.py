"""Small problems of reconstruction: views of nothing in particular, and a molecule that swirls in a known way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.ctf import CtfParams, transfer_function
from dynaflex.imaging.pose import Pose
from dynaflex.mesh.build import lattice
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.reconstruct.equations import Equations
from dynaflex.reconstruct.field import Field, Region
from dynaflex.reconstruct.mesh_field import MeshField
from dynaflex.reconstruct.operator import Operator
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor
from moved import MovedField
from seen import seen

CPU = torch.device("cpu")
GRID = Grid(24, 4.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def swirl(latents: Tensor, points: Tensor) -> Tensor:
    """A smooth displacement of a few Å that differs in every particle."""
    first, second = latents[:, 0, None, None], latents[:, 1, None, None]
    return first * 2.0 * torch.sin(points / 15.0) + second * torch.cos(points.roll(1, dims=1) / 20.0)


def ball(grid: Grid, radius: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Tensor:
    """Which voxels ``(d d d)`` lie within ``radius`` Å of a point."""
    distance = (grid.points() - torch.tensor(centre)).norm(dim=1)
    return (distance < radius).view(grid.box, grid.box, grid.box)


def swirling_mesh(grid: Grid) -> MeshField:
    """A mesh around the middle whose vertices swirl."""
    mesh = lattice(ball(grid, 24.0), grid, 12)
    return MeshField(Region.sphere(grid, CPU), mesh, lambda latents: swirl(latents, mesh.vertices))


@pytest.fixture(params=["voxels", "mesh"])
def swirling(request: pytest.FixtureRequest) -> Field:
    """Both ways to carry voxels by the same motion."""
    return MovedField(GRID, swirl) if request.param == "voxels" else swirling_mesh(GRID)


@pytest.fixture
def ball_mesh() -> Callable[..., TetMesh]:
    """``ball_mesh(grid, cells, radius, centre)``: a regular mesh over a ball."""

    def build(grid: Grid, cells: int, radius: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> TetMesh:
        return lattice(ball(grid, radius, centre), grid, cells)

    return build


@pytest.fixture
def views() -> Callable[..., Batch]:
    """``views(n, grid, seed)``: random poses, latents and defocus values, without images."""

    def draw(n: int, grid: Grid = GRID, seed: int = 1) -> Batch:
        generator = seeded(seed)

        def every(value: float) -> Tensor:
            return torch.full((n,), value, dtype=torch.float64)

        defocus = 8000.0 + 8000.0 * torch.rand(n, generator=generator, dtype=torch.float64)
        optics = CtfParams(
            defocus_u=defocus, defocus_v=defocus - 300.0, defocus_angle=every(0.3),
            voltage_kv=every(300.0), cs_mm=every(2.7), amplitude_contrast=every(0.1), phase_shift=every(0.0),
            b_factor=every(0.0), scale=every(1.0), dose=every(0.0),
            beam_tilt=torch.zeros(n, 2, dtype=torch.float64),
            odd_zernike=torch.zeros(n, 0, dtype=torch.float64), even_zernike=torch.zeros(n, 0, dtype=torch.float64),
        )  # fmt: skip
        pose = Pose(random_rotations(n, generator).float(), torch.randn(n, 2, generator=generator) * 3)
        return seen(pose, transfer_function(optics, grid), latents=torch.randn(n, 2, generator=generator))

    return draw


@dataclass(frozen=True)
class Experiment:
    """A ``volume`` ``(d d d)``, its noisy images in ``batches``, and the operator that made them."""

    volume: Tensor
    operator: Operator
    views: list[Batch]

    def batches(self) -> list[Batch]:
        return self.views

    @property
    def equations(self) -> Equations:
        """The normal equations of these images, with the operator's motion."""
        return self.operator.equations(self.batches)


@pytest.fixture
def experiment(views: Callable[..., Batch]) -> Callable[..., Experiment]:
    """``experiment(field, n, noise, signal)``: n images of a molecule carried by a field, from the operator itself.

    ``noise`` is its standard deviation per pixel where images have that of the signal times about 3; 0 noise is told to
    the operator as hardly any. Without ``signal`` there is nothing but noise.
    """

    def make(field: Field, n: int = 400, noise: float = 0.0, signal: float = 1.0) -> Experiment:
        grid = field.grid
        volume = field.region.to_volume(field.region.from_volume(signal * molecule(grid)))
        operator = Operator(field, torch.full((grid.n_shells,), max(noise, 1e-3) ** 2))
        batches = []
        for part in range(0, n, 50):
            bare = views(50, grid, seed=part + 2)
            added = noise * torch.randn(50, grid.box, grid.box, generator=seeded(part + 3))
            images = operator.apply(field.region.from_volume(volume), bare) + fourier.transform(added, 2)
            batches.append(seen(bare.pose, bare.ctf, images, bare.latents))
        return Experiment(volume, operator, batches)

    return make


def molecule(grid: Grid) -> Tensor:
    """Random texture with detail up to Nyquist in a ball of a quarter of the box, of mean square 1 there."""
    texture = torch.randn(grid.box, grid.box, grid.box, generator=seeded(9))
    edge = ((grid.width / 4 - grid.radius_of_points()) / grid.pixel_size + 1.0).clamp(0.0, 1.0)
    shaped = fourier.low_pass(texture, grid, 2.0 * grid.pixel_size) * edge.view(texture.shape)
    return fourier.low_pass(shaped, grid, 2.0 * grid.pixel_size) / shaped.square().sum().div(edge.sum()).sqrt()
