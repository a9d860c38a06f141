"""The forward model: from points that stand in the reference frame to the Fourier transform of an image."""

from __future__ import annotations

import torch

from dynaflex.grid import Grid
from dynaflex.imaging.pose import Pose, project
from dynaflex.imaging.splat import splat
from dynaflex.kernels import MeshTable
from dynaflex.shapes import Tensor


def render(
    points: Tensor,
    weights: Tensor,
    widths: Tensor,
    pose: Pose,
    ctf: Tensor | None,
    grid: Grid,
    table: MeshTable | None = None,
) -> Tensor:
    """Image coefficients ``(b h w)`` of Gaussians at ``points`` ``(b n 3)`` or ``(n 3)``, seen through the CTF.

    ``weights`` ``(c n)`` are masses per class, in map units times voxels; ``widths`` ``(c)`` the paper's s in Å²;
    ``ctf`` ``(b h w)``. The projection is spread onto a grid, transformed, and multiplied by the Gaussian's transform
    and the CTF, once for every class. Implements [DM 1, 10].

    With a ``table`` the points that move are the vertices of a mesh, and the weights belong to the voxels it carries:
    ``I = C P D(f(z), V)``, convected and projected in one. Implements [3DF 1, 2].
    """
    image_points = project(points, pose)
    total: Tensor | None = None
    for weight, width in zip(weights, widths, strict=True):
        term = splat(image_points, weight, grid, table) * gaussian_envelope(width, grid)
        total = term if total is None else total + term
    if total is None:
        raise ValueError("render needs at least one class of Gaussians")
    return total if ctf is None else total * ctf


def gaussian_envelope(width: Tensor, grid: Grid) -> Tensor:
    """The transform of ``exp(-|x|²/s)``, normalised to 1 at the origin: ``exp(-pi² s k²)``, ``(h w)``."""
    kx, ky = grid.frequencies(width.device, width.dtype)
    return torch.exp(-(torch.pi**2) * width * (kx.square() + ky.square()))
