"""What carries the density, to be shown itself: Gaussians or the mesh; and where arrows of the motion begin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from dynaflex.deformation.base import Moves
from dynaflex.results.trained import TrainedHalf
from dynaflex.shapes import FloatArray, IntArray, Tensor

MOST_GAUSSIANS = 20_000
ARROWS = 300
_SMALLEST_ISLAND = 0.02
# The faces of a cell whose corners are positively oriented, counter-clockwise from outside.
_FACES = np.array([(1, 2, 3), (0, 3, 2), (0, 1, 3), (0, 2, 1)])


@dataclass(frozen=True)
class Parts:
    """The Gaussians or the vertices of the mesh of a half.

    ``rest`` ``(n 3)`` are their places at rest and ``radius`` is the standard deviation of a Gaussian, in Å. ``faces``
    ``(f 3)`` are the outer triangles of the mesh, counter-clockwise from outside, and ``segment`` ``(f)`` the part of
    the molecule that each belongs to, counted from 0. ``total`` is how many parts there are, shown or not.
    """

    kind: str
    rest: Tensor
    moves: Moves
    total: int
    radius: float = 0.0
    faces: IntArray = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int64))
    segment: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @classmethod
    def of(cls, trained: TrainedHalf) -> Parts | None:
        """The parts of a half; at most 20,000 Gaussians, evenly taken from their list. None if they are points without
        a size."""
        deformation, density = trained.model.deformation, trained.model.density
        mesh = deformation.mesh
        if mesh is not None:
            faces, segment = outer_faces(mesh.cells.numpy(), mesh.segment.numpy())

            def moves(latents: Tensor) -> Tensor:
                return deformation.carry(latents, mesh.vertices) - mesh.vertices

            return cls("mesh", mesh.vertices, moves, len(mesh.vertices), faces=faces, segment=segment)
        widths = density.widths().detach()
        if not bool(widths.any()):
            return None
        centres = density.points().detach()
        chosen = centres[:: -(-len(centres) // MOST_GAUSSIANS)].contiguous()
        radius = float((widths.max() / 2).sqrt())
        return cls("gaussians", chosen, deformation.at(chosen), len(centres), radius)

    @torch.no_grad()
    def places(self, latents: Tensor) -> FloatArray:
        """Where the parts are in the conformation ``latents`` ``(k)``, ``(n 3)`` in Å."""
        return (self.rest + self.moves(latents[None])[0]).numpy()

    def header(self) -> dict[str, Any]:
        """``kind``, ``total``, ``radius`` in Å and the number of ``segments``."""
        segments = int(self.segment.max()) + 1 if len(self.segment) else 0
        return {"kind": self.kind, "total": self.total, "radius": self.radius, "segments": segments}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """``rest`` as float32, ``faces`` as uint32, ``segment`` as uint8."""
        return {
            "rest": self.rest.numpy(),
            "faces": self.faces.astype(np.uint32),
            "segment": self.segment.astype(np.uint8),
        }


def outer_faces(cells: IntArray, segment: IntArray) -> tuple[IntArray, IntArray]:
    """The triangles ``(f 3)`` that only one of the ``cells`` ``(t 4)`` of its segment has, and their segments ``(f)``.

    Segments ``(t)`` are counted from 0 in the order of their numbers, whatever these are.
    """
    own = np.unique(segment, return_inverse=True)[1]
    faces, owner = cells[:, _FACES].reshape(-1, 3), np.repeat(own, 4)
    keyed = np.column_stack([owner, np.sort(faces, axis=1)])
    _, first, count = np.unique(keyed, axis=0, return_index=True, return_counts=True)
    outer = np.sort(first[count == 1])
    return faces[outer], owner[outer]


def spread_over(density: FloatArray, level: float, points: FloatArray, count: int = ARROWS) -> FloatArray:
    """At most ``count`` of the ``points`` ``(d³ 3)``, evenly over the surface of a map ``(d d d)`` at a level.

    Each is the one furthest from all before it. Islands smaller than a fiftieth of the largest part have none.
    """
    labels, found = ndimage.label(density > level)
    if not found:
        return points[:0]
    sizes = np.bincount(labels.ravel())[1:]
    inside = np.isin(labels, 1 + np.flatnonzero(sizes >= _SMALLEST_ISLAND * sizes.max()))
    shell = points[(inside & ~ndimage.binary_erosion(inside)).ravel()]
    distance = np.linalg.norm(shell - shell.mean(axis=0), axis=1)
    chosen: list[int] = []
    for _ in range(min(count, len(shell))):
        chosen.append(int(distance.argmax()))
        nearer = np.linalg.norm(shell - shell[chosen[-1]], axis=1)
        distance = np.minimum(distance, nearer) if len(chosen) > 1 else nearer
    return shell[chosen]
