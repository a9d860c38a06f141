"""Our projections and our rigid reconstruction beside those of RELION's own programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.ctf import CtfParams, transfer_function
from dynaflex.imaging.pose import Pose
from dynaflex.reconstruct.iterative import solve
from dynaflex.reconstruct.operator import Operator
from dynaflex.reconstruct.rigid import rigid_equations
from dynaflex.shapes import Tensor
from moved import MovedField
from seen import seen

CPU = torch.device("cpu")


def views_of(images: Tensor, grid: Grid, pose: Pose, ctf: CtfParams, at_once: int = 50) -> Iterator[Batch]:
    for part in torch.arange(len(images)).split(at_once):
        coefficients = fourier.transform(images[part].float(), 2)
        yield seen(pose[part].to(CPU), transfer_function(ctf[part], grid), coefficients, torch.zeros(len(part), 1))


def test_our_images_are_those_of_relion_project(
    relion_projections: Any, correlation: Callable[[Tensor, Tensor], Tensor]
) -> None:
    theirs = relion_projections
    grid = Grid(theirs.volume.shape[-1], 3.54)
    operator = Operator(MovedField(grid))
    values = operator.field.region.from_volume(theirs.volume.float())
    ours = [operator.apply(values, views) for views in views_of(theirs.images, grid, theirs.pose, theirs.ctf)]
    images = fourier.inverse_transform(torch.cat(ours), 2).double()
    assert correlation(images, theirs.images).min() >= 0.99


def test_our_rigid_map_is_that_of_relion_reconstruct(
    exact: Callable[..., Tensor], reconstruct_with_relion: Callable[..., Tensor], many_views: Any
) -> None:
    volume, grid, pose, euler, origin, ctf = many_views
    generator = torch.Generator().manual_seed(5)
    clean = torch.cat([exact(volume, grid, pose[part], ctf[part]) for part in torch.arange(len(pose)).split(50)])
    noisy = clean + 0.5 * clean.std() * torch.randn(clean.shape, generator=generator)
    theirs = reconstruct_with_relion(noisy, grid, euler, origin, ctf, gridding=True)
    ours = solve(rigid_equations(grid, lambda: views_of(noisy, grid, pose, ctf), torch.ones(grid.n_shells))).double()
    inside = grid.radius_of_points().view(volume.shape) < 0.45 * grid.width
    pair = torch.stack([ours[inside], theirs[inside]])
    assert torch.corrcoef(pair)[0, 1] >= 0.98
