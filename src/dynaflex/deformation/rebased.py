"""The same motion, told from another conformation."""

from __future__ import annotations

import torch

from dynaflex.deformation.base import Deformation, Moves
from dynaflex.shapes import Tensor

_STEPS = 50
_NEAR_ENOUGH = 1e-3


class Rebased(Deformation):
    """A ``motion`` with its conformation ``origin`` ``(k)`` at rest: a point that stands there moves as it did before.

    What stands at y in that conformation came from x with ``x + u(origin, x) = y``, and its displacement is
    ``u(z, x) - u(origin, x)``. x is found by fixed-point iteration, which converges where ``u(origin, .)`` nowhere
    stretches space by its own size.
    """

    origin: Tensor

    def __init__(self, motion: Deformation, origin: Tensor) -> None:
        super().__init__()
        self.motion = motion
        self.register_buffer("origin", origin[None])

    def at(self, points: Tensor) -> Moves:
        """What maps latents to the displacements of points ``(n 3)``; not differentiable in the points."""
        moves = self.motion.at(self.came_from(points))
        with torch.no_grad():
            there = moves(self.origin)
        return lambda latents: moves(latents) - there

    @torch.no_grad()
    def came_from(self, points: Tensor) -> Tensor:
        """Where points ``(n 3)`` of the conformation at rest stand at rest of the ``motion``, to 0.001 Å."""
        origins = points.detach()
        for _ in range(_STEPS):
            next_origins = points.detach() - self.motion.displacement(self.origin, origins)[0]
            step = (next_origins - origins).abs().max()
            origins = next_origins
            if step < _NEAR_ENOUGH:
                break
        return origins
