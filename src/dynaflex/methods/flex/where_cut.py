"""Where a mesh is cut, so that what lies side by side can slide: between rigid bodies that the motion itself shows.

A mesh that covers a molecule holds together whatever touches, at rest or always. Two domains that lie side by side and
move apart strain all cells between them, and stiffness makes their motion shorter than it is, and bent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from dynaflex import ranks
from dynaflex.analyze.domains import carried, ever_more_domains, kabsch
from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.mesh.fuse import segmented_mesh
from dynaflex.mesh.segments import Contact, LabelledMesh, Pair, contacts, expand_labels, suggest_connections
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.shapes import Array, IntArray, Tensor

MOST = 6
"""Rigid bodies that are looked for."""
_WORTHWHILE = 0.9
"""One body more must leave less than this part of what those before left of the motion. On a mesh that holds what
slides, bodies bend, so that even the right ones leave much."""
_LITTLE = 0.5
"""Of how far those bodies slide that slide furthest: what does not hold two apart. The first epochs show a motion much
shorter than it is."""
_NOTHING = 0.25
"""Å that no two bodies slide in truth."""


@dataclass(frozen=True)
class Conformations:
    """Where ``points`` ``(n 3)`` in Å of a map are in some conformations, ``moved`` ``(f n 3)``."""

    points: Array
    moved: Array

    @classmethod
    def of_all_ranks(cls, points: Tensor, moved: Tensor) -> Conformations:
        """The same on all ranks: they have the same places but for rounding, and must have the same mesh."""
        return cls(*(ranks.summed(ranks.once(places)).double().cpu().numpy() for places in (points, moved)))


def that_slide(density: CanonicalMap, motion: Conformations) -> Tensor | None:
    """The rigid body ``(m)`` nearest to each voxel of the ``density``; None where nothing slides.

    Points are parted into ever more rigid bodies. The first number of bodies of which two slide along each other, where
    they would not have to hang together, is taken.
    """
    before = np.inf
    for bodies, left in ever_more_domains(motion.points, motion.moved, MOST):
        if left > _WORTHWHILE * before:
            break
        before = left
        labels = _nearest(bodies, motion.points, density)
        if _joints(density, labels, motion, _touching(density, labels))[1]:
            return labels.flatten()[density.voxels.cpu()].to(density.voxels.device)
    return None


def apart(mesh: TetMesh, density: CanonicalMap, bodies: Tensor) -> LabelledMesh:
    """The ``mesh`` cut between all ``bodies`` ``(m)`` of voxels, on the CPU."""
    labels = density.in_place(bodies, -1).cpu()
    return _cut(mesh, density, labels, [], [])


def joined(mesh: TetMesh, density: CanonicalMap, bodies: Tensor, motion: Conformations) -> LabelledMesh:
    """The ``mesh`` cut between ``bodies`` ``(m)`` of voxels, but for where they hang together.

    They do in a tree of contacts, that which holds back least of their motions over its area, and wherever their
    motions hardly differ. It is on the CPU.
    """
    labels = density.in_place(bodies, -1).cpu()
    touching = _touching(density, labels)
    joints, _ = _joints(density, labels, motion, touching)
    return _cut(mesh, density, labels, joints, touching)


def _nearest(bodies: IntArray, points: Array, density: CanonicalMap) -> Tensor:
    mask = density.in_place(torch.ones_like(density.values), 0).cpu()
    labels = torch.full(mask.shape, -1)
    x, y, z = density.grid.nearest(torch.from_numpy(points)).unbind(dim=1)
    labels[z, y, x] = torch.from_numpy(bodies)
    return expand_labels(labels, mask)


def _touching(density: CanonicalMap, labels: Tensor) -> list[Contact]:
    return contacts(labels, density.grid, density.own_volume().cpu())


def _joints(
    density: CanonicalMap, labels: Tensor, motion: Conformations, touching: list[Contact]
) -> tuple[list[Pair], list[Pair]]:
    """The pairs of bodies that hang together where they touch, and those that slide."""
    x, y, z = density.grid.nearest(torch.from_numpy(motion.points)).unbind(dim=1)
    bodies = labels[z, y, x].numpy()
    motions = [
        [kabsch(motion.points[bodies == body], frame[bodies == body]) for frame in motion.moved]
        for body in range(bodies.max() + 1)
    ]
    slides = {contact.pair: _slide(contact, motions) for contact in touching}
    tree = suggest_connections(sorted(touching, key=lambda contact: contact.area * slides[contact.pair] ** 2))
    little = max(_LITTLE * max(slides.values(), default=0.0), _NOTHING)
    joints = [pair for pair, slide in slides.items() if pair in tree or slide < little]
    return joints, [pair for pair in slides if pair not in joints]


def _cut(
    mesh: TetMesh, density: CanonicalMap, labels: Tensor, joints: list[Pair], touching: list[Contact]
) -> LabelledMesh:
    cut = segmented_mesh(mesh.to(torch.device("cpu")), labels, density.grid, joints, touching, separate=True)
    return LabelledMesh(cut.mesh, labels, density.grid)


def _slide(contact: Contact, motions: list[list[tuple[Array, Array, Array]]]) -> float:
    """How far two bodies move along or from each other where they touch, rms over faces and conformations in Å."""
    faces = contact.faces.numpy()
    first, second = (motions[body] for body in contact.pair)
    between = [
        np.square(carried(faces, one) - carried(faces, other)).sum(axis=1).mean()
        for one, other in zip(first, second, strict=True)
    ]
    return math.sqrt(float(np.mean(between)))
