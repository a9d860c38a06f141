"""Where a mesh is cut, so that what lies side by side can slide: between rigid bodies that the motion itself shows.

A mesh that covers a molecule holds together whatever touches, at rest or always. Two domains that lie side by side and
move apart strain all cells between them, and stiffness makes their motion shorter than it is, and bent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from dynaflex import ranks
from dynaflex.analyze.domains import STILL, carried, ever_more_domains, kabsch
from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.mesh.fuse import segmented_mesh
from dynaflex.mesh.segments import Contact, LabelledMesh, contacts, expand_labels, suggest_connections
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.shapes import Array, IntArray, Tensor

MOST = 6
"""Rigid bodies that are looked for."""
_WORTHWHILE = 0.9
"""One body more must leave less than this part of what those before left of the motion. On a mesh that holds what
slides, bodies bend, so that even the right ones leave much."""


def proposed(mesh: TetMesh, density: CanonicalMap, points: Tensor, moved: Tensor) -> LabelledMesh | None:
    """The ``mesh`` with cuts; None where nothing slides, or it is cut already.

    ``points`` ``(n 3)`` in Å of the ``density`` are at ``moved`` ``(f n 3)`` in some conformations. They are parted
    into ever more rigid bodies. Bodies hang together in a tree of contacts, that which holds back least of their
    motions over its area, and wherever their motions hardly differ. The first number of bodies of which two then slide
    along each other is taken.
    """
    if int(mesh.segment.max()) > 0:
        return None
    # Ranks have the same places but for rounding, and must have the same mesh.
    start, frames = (ranks.summed(ranks.once(places)).double().cpu().numpy() for places in (points, moved))
    before = np.inf
    for bodies, left in ever_more_domains(start, frames, MOST):
        if left > _WORTHWHILE * before:
            break
        before = left
        cut = _cut(mesh, density, start, frames, bodies)
        if cut is not None:
            return cut
    return None


def _cut(mesh: TetMesh, density: CanonicalMap, points: Array, moved: Array, bodies: IntArray) -> LabelledMesh | None:
    grid, mask = density.grid, density.in_place(torch.ones_like(density.values), 0).cpu()
    x, y, z = ((torch.from_numpy(points) / grid.pixel_size).round().long() + grid.center).unbind(dim=1)
    labels = torch.full(mask.shape, -1)
    labels[z, y, x] = torch.from_numpy(bodies)
    labels = expand_labels(labels, mask)
    touching = contacts(labels, grid, density.own_volume().cpu())
    motions = [
        [kabsch(points[bodies == body], frame[bodies == body]) for frame in moved] for body in range(bodies.max() + 1)
    ]
    slides = {contact.pair: _slide(contact, motions) for contact in touching}
    tree = suggest_connections(sorted(touching, key=lambda contact: contact.area * slides[contact.pair] ** 2))
    joined = [pair for pair, slide in slides.items() if pair in tree or slide < STILL]
    if len(joined) == len(slides):
        return None
    cut = segmented_mesh(mesh.to(torch.device("cpu")), labels, grid, joined, touching, separate=True)
    return LabelledMesh(cut.mesh.to(mesh.cells.device), labels, grid)


def _slide(contact: Contact, motions: Sequence[Sequence[tuple[Array, Array, Array]]]) -> float:
    """How far two bodies move along or from each other where they touch, rms over faces and conformations in Å."""
    faces = contact.faces.numpy()
    first, second = (motions[body] for body in contact.pair)
    apart = [
        np.square(carried(faces, one) - carried(faces, other)).sum(axis=1).mean()
        for one, other in zip(first, second, strict=True)
    ]
    return math.sqrt(float(np.mean(apart)))
