"""Rigid bodies: which there are, where one passes into the next, and how they carry a mesh."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import roma
import torch
from scipy.spatial import cKDTree

from dynaflex import tell
from dynaflex.data.placed import Frame, read_mask, read_segments
from dynaflex.deformation.on_mesh import OnMesh
from dynaflex.errors import InputError, UsageError
from dynaflex.grid import Grid
from dynaflex.io.star import read_star
from dynaflex.mesh.build import build_mesh, cell_edge
from dynaflex.mesh.segments import LabelledMesh, contacts, expand_labels
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.methods.multibody import MultibodyConfig
from dynaflex.prepare.inputs import Inputs
from dynaflex.prepare.mesh_store import naming
from dynaflex.shapes import Tensor

_MASK_NAME = "rlnBodyMaskName"
_LEAST_TOLD = 1e-4
"""Precision of a latent, in units of its prior's, below which rounding hides what images tell."""


class RigidBodies(OnMesh):
    """Bodies that each turn about a point and shift as a whole; where they meet, a point moves with a mean of them.

    A vertex x goes to ``x + sum_b w_b(x) (R_b (x - c_b) + c_b + t_b - x)``, with the ``share`` w ``(v m)`` of m bodies
    that move and their ``pivots`` c ``(m 3)`` in Å; what is missing to one is the share of the body at rest, whose
    pose is the particle's own. The rotation vector of R_b in radians and t_b in Å, together, are ``L_b z_b``:
    ``widths`` L ``(m 6 6)`` is the triangular root of their covariance over the particles, and latents z are standard
    normal.
    """

    share: Tensor
    pivots: Tensor
    widths: Tensor
    home: Tensor
    origin: Tensor

    def __init__(
        self,
        mesh: TetMesh,
        share: Tensor,
        pivots: Tensor,
        widths: Tensor,
        sites: Tensor,
        site_cell: Tensor,
        spacing: float,
    ) -> None:
        super().__init__(mesh, sites, site_cell, spacing)
        self.register_buffer("share", share)
        self.register_buffer("pivots", pivots)
        self.register_buffer("widths", widths)
        self.register_buffer("origin", torch.zeros(6 * len(pivots)), persistent=False)
        self.register_buffer("home", mesh.vertices.clone(), persistent=False)

    def offsets(self, latents: Tensor) -> Tensor:
        """Rotation vectors in radians and shifts in Å of the bodies, ``(b m 6)``, for latents ``(b k)``."""
        return torch.einsum("mij,bmj->bmi", self.widths, latents.view(len(latents), -1, 6))

    def vertex_displacement(self, latents: Tensor) -> Tensor:
        """Displacements ``(b v 3)`` in Å of the vertices for latents ``(b k)``; in memory as ``(b 3 v)``."""
        offsets = self.offsets(torch.cat([self.origin[None], latents]))
        turns = roma.rotvec_to_rotmat(offsets[..., :3]) - torch.eye(3, device=offsets.device)
        arms = self.share[:, :, None] * (self.home[:, None] - self.pivots)
        moved = turns.transpose(1, 2).flatten(2) @ arms.flatten(1).T + offsets[..., 3:].transpose(1, 2) @ self.share.T
        return (moved[1:] - moved[:1]).transpose(1, 2)

    def _rest_at(self, origin: Tensor) -> None:
        self.origin = origin

    def middle(self, latents: Tensor, points: Tensor) -> Tensor:
        """The mean pose of every body. Where bodies turn far, pushing them towards their pivots brings them nearer to
        the mean of their points, but no particle has them there."""
        return latents.mean(dim=0)

    @torch.no_grad()
    def renormalised(self, latents: Tensor, trained: Tensor, uncertainty: Tensor) -> Tensor:
        """Learn ``widths`` from those of the latents ``(p k)`` that are ``trained`` ``(t)``; what all of them are found
        to be with the new widths.

        ``uncertainty`` V ``(m 6 6)`` is the mean covariance of a body's posteriors. Its images alone then tell a pose
        with the precision ``P = 1/V - 1``, and say ``(1 + 1/P) z`` where they and the prior together say z. In units
        of their error, ``y = sqrt(P) (1 + 1/P) z``, poses spread by ``mean(y y^T) - 1``: of all normal distributions
        this makes the images most likely, if they tell all poses alike; if not, repeated steps still end there.
        Images of bodies that do not move spread up to Marchenko and Pastur's edge, so that nothing below it is learned.
        """
        z = latents.view(len(latents), -1, 6).double()
        variance, axes = torch.linalg.eigh(uncertainty.double())
        told = (1.0 / variance - 1.0).clamp(min=_LEAST_TOLD)
        by_images = torch.einsum("mij,mj,mlj->mil", axes, told.sqrt() + told.rsqrt(), axes)
        to_latents = torch.einsum("mij,mj,mlj->mil", axes, told.rsqrt(), axes)
        y = torch.einsum("mij,pmj->pmi", by_images, z)
        spread, axes = torch.linalg.eigh(torch.einsum("pmi,pmj->mij", y[trained], y[trained]) / len(trained))
        spread = spread.clamp(min=(1.0 + math.sqrt(z.shape[2] / len(trained))) ** 2) - 1.0
        found = torch.einsum("mij,mj,mlj,pml->pmi", axes, spread / (1.0 + spread), axes, y)
        half = to_latents @ axes * spread.sqrt()[:, None]
        root = torch.linalg.cholesky(half @ half.transpose(1, 2))
        self.widths.copy_(self.widths.double() @ root)
        found = torch.einsum("mij,pmj->pmi", to_latents, found)
        return torch.linalg.solve_triangular(root, found[..., None], upper=False).view_as(latents).to(latents)


@dataclass(frozen=True)
class Bodies:
    """The mesh, cells numbered by body; ``share`` ``(v m)`` and ``pivots`` ``(m 3)`` in Å of the ``moving`` bodies,
    by their numbers, as in :class:`RigidBodies`; ``still`` is the number of the one at rest."""

    labelled: LabelledMesh
    share: Tensor
    pivots: Tensor
    moving: list[int]
    still: int

    def described(self) -> str:
        """Which bodies move, and about what."""
        parts = [f"body {body} about ({x:.0f}, {y:.0f}, {z:.0f}) Å" for body, (x, y, z) in self._about()]
        return f"body {self.still} at rest, {'; '.join(parts)}"

    def _about(self) -> Iterator[tuple[int, list[float]]]:
        return zip(self.moving, self.pivots.tolist(), strict=True)


def read_bodies(inputs: Inputs, config: MultibodyConfig) -> Bodies:
    """The bodies of the user's segmentation; the one with the most density is at rest.

    Raises:
        UsageError: there is no segmentation.
        InputError: it does not fit the map, or holds a single body.
    """
    path, grid = inputs.paths.own.get("segments"), inputs.full_imaging.grid
    if path is None:
        raise UsageError(
            "multibody.no-segments", "multi-body refinement needs to be told what the bodies are",
            expected="--segments SEG.mrc, numbers of bodies in its voxels, or RELION's body STAR file",
            fix="segment the map in ChimeraX (Segger) and save the regions as a label map",
        )  # fmt: skip
    warnings: list[str] = []
    read = _from_masks if path.suffix == ".star" else read_segments
    with naming(path):
        labels = expand_labels(torch.from_numpy(read(path, inputs.frame, warnings)), inputs.mask)
    for warning in warnings:
        tell.warn(warning)
    numbers = torch.unique(labels[labels >= 0]).tolist()
    if len(numbers) < 2:
        raise InputError(
            "multibody.one-body", "this segmentation has a single body, so that nothing can move", file=path,
            expected="at least two bodies", found=f"segment {numbers[0]}",
            fix="give every body a number of its own",
        )  # fmt: skip
    density = inputs.consensus[0].clamp(min=0.0)
    still = max(numbers, key=lambda body: float(density[labels == body].sum()))
    moving = [body for body in numbers if body != still]
    mesh = build_mesh(inputs.mask, grid, None, config.cells, edge=cell_edge(inputs.imaging.grid.pixel_size))
    share = shares(mesh.vertices, labels, grid, [still, *moving], config.border)
    whose = torch.tensor([still, *moving])[share[mesh.cells].mean(dim=1).argmax(dim=1)]
    pivots = torch.stack([pivot(labels, body, grid, density) for body in moving])
    return Bodies(LabelledMesh(replace(mesh, segment=whose)), share[:, 1:], pivots, moving, still)


def shares(points: Tensor, labels: Tensor, grid: Grid, bodies: list[int], border: float) -> Tensor:
    """How much each of the ``bodies`` owns points ``(n 3)``, ``(n b)``: not negative, and one in all.

    ``labels`` ``(d d d)`` say whose a voxel is. A share rises from 0 to 1 over ``border`` Å across a border between
    bodies, half on either side.
    """
    voxels = grid.points()
    away = torch.stack(
        [_distance(points, voxels[(labels == body).view(-1)]) for body in bodies], dim=1
    )  # fmt: skip
    nearest = away.topk(2, dim=1, largest=False).values
    other = torch.where(away == nearest[:, :1], nearest[:, 1:], nearest[:, :1])
    ramp = (0.5 + (other - away) / border).clamp(0.0, 1.0)
    soft = 0.5 - 0.5 * torch.cos(torch.pi * ramp)
    return soft / soft.sum(dim=1, keepdim=True)


def pivot(labels: Tensor, body: int, grid: Grid, density: Tensor) -> Tensor:
    """What a body turns about, ``(3)`` in Å: the middle of its contacts with others, or its centre of mass where it
    touches none."""
    faces = [contact.faces for contact in contacts(labels, grid) if body in contact.pair]
    if faces:
        return torch.cat(faces).mean(dim=0).float()
    own = (labels == body).view(-1)
    weights = density.view(-1)[own] + 1e-12
    return (weights[:, None] * grid.points()[own]).sum(dim=0) / weights.sum()


def _distance(points: Tensor, voxels: Tensor) -> Tensor:
    return torch.from_numpy(cKDTree(voxels.numpy()).query(points.numpy())[0]).float()


def _from_masks(path: Path, frame: Frame, warnings: list[str]) -> np.ndarray:
    """Labels ``(d d d)`` from RELION's body STAR file: a voxel belongs to the body whose mask is highest there."""
    table = next((block for block in read_star(path).blocks.values() if _MASK_NAME in block), None)
    if table is None:
        raise InputError("multibody.no-masks", "this STAR file names no masks of bodies", field=_MASK_NAME)
    named = [Path(name) for name in table[_MASK_NAME]]
    masks = [read_mask(one if one.exists() else path.parent / one, frame, warnings) for one in named]
    highest = np.max(masks, axis=0)
    return np.where(highest > 0.5, 1 + np.argmax(masks, axis=0), -1)
