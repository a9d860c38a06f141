"""What stands still in a motion, from which the rest of it is told.

A whole that turns or is displaced costs no strain, so that errors of poses are learned as readily as motion. Which part
of a molecule stands still is for the motion itself to say.
"""

from __future__ import annotations

import torch

from dynaflex.deformation.base import Deformation, Moves
from dynaflex.shapes import Tensor

_AT_REST = 0.1
"""Of the rms displacement of all of a molecule: what moves less stands still."""
_ROUNDS = 5
"""Of finding what stands still beside what stood still before: three settle it to a hundredth of an Å."""
_NEARLY = 1e-9
"""Å², so that what does not move at all has a weight."""
_ANCHORS = 256
"""Points that say what stands still, where there is no mesh: that many of the heaviest."""


class Still(torch.nn.Module):
    """The rigid motion of what stands still among ``points`` ``(n 3)`` in Å; nothing before :meth:`find`.

    ``reads`` ``(6 3 n)`` finds the amounts of the :func:`rigid_motions` in displacements of the points.
    """

    points: Tensor
    reads: Tensor

    def __init__(self, points: Tensor) -> None:
        super().__init__()
        self.register_buffer("points", points.clone())
        self.register_buffer("reads", torch.zeros(6, 3, len(points)))

    @property
    def known(self) -> bool:
        """True once something was found, and until :meth:`forget`."""
        return bool((self.reads != 0.0).any())

    def moved(self, displacements: Tensor) -> Tensor:
        """How far all points go along with what stands still, where they have ``displacements``; ``(b n 3)`` both."""
        return _rigid(self.amounts(displacements), self.points)

    def amounts(self, displacements: Tensor) -> Tensor:
        """The shifts in Å and turns in radians ``(b 6)`` of what stands still, where the points have ``displacements``
        ``(b n 3)``."""
        return _read(self.reads, displacements)

    @torch.no_grad()
    def find(self, displacements: Tensor, mass: Tensor) -> None:
        """Find what stands still, where the points have a ``mass`` ``(n)`` and, in b conformations, ``displacements``
        ``(b n 3)`` in Å.

        In the frame that it leads to, as much as can be of the mass stands still: the ``sum mass log(v + a²)`` is
        least, where v is the variance of a point's place over the conformations, and a tenth of its rms over all points
        is a. It is found by least squares with the weights ``mass / (v + a²)``, again and again. The first are those of
        the frame before: of two parts of one mass that which stood still will go on to.
        """
        motions, reads = rigid_motions(self.points.double()), self.reads.double()
        displacements, mass = displacements.double(), mass.double()
        for _ in range(_ROUNDS):
            within = displacements - _rigid(_read(reads, displacements), self.points.double())
            variance = within.var(dim=0, correction=0).sum(dim=1)
            usual = (mass @ variance) / mass.sum()
            weighed = (motions * (mass / (variance + _AT_REST**2 * usual).clamp(min=_NEARLY))).flatten(1)
            reads = torch.linalg.solve(weighed @ motions.flatten(1).T, weighed).view_as(motions)
        self.reads.copy_(reads)

    def forget(self) -> None:
        """Let nothing stand still, as before :meth:`find`."""
        self.reads.zero_()


class FromStill(Deformation):
    """A ``motion`` told from what stands still in it, once that was found among the 256 points that weigh most."""

    def __init__(self, motion: Deformation) -> None:
        super().__init__()
        self.motion = motion
        self.still = Still(torch.zeros(_ANCHORS, 3))

    def at(self, points: Tensor) -> Moves:
        """What maps latents to the displacements of points ``(n 3)``."""
        moves, moved = self.motion.at(points), self.motion.at(self.still.points)
        return lambda latents: moves(latents) - _rigid(self.still.amounts(moved(latents)), points)

    @torch.no_grad()
    def find_still(self, latents: Tensor, points: Tensor, mass: Tensor) -> None:
        """Find what stands still in the conformations ``latents`` ``(b k)``, where the points ``(n 3)`` have a ``mass``
        ``(n)``."""
        heaviest = mass.argsort(descending=True, stable=True)[:_ANCHORS]
        # Of fewer points the first stands in, and weighs nothing.
        anchors, weighs = points[:1].repeat(_ANCHORS, 1), mass.new_zeros(_ANCHORS)
        anchors[: len(heaviest)], weighs[: len(heaviest)] = points[heaviest], mass[heaviest]
        self.still.points.copy_(anchors)
        self.still.find(self.motion.displacement(latents, anchors), weighs)

    def apart(self, within: Deformation) -> Apart:
        """Motion of the whole, which is taken off, and that ``within``, each by latents of its own."""
        return Apart(within, self.still, self.motion.at(self.still.points))


class Apart(Deformation):
    """Motion of the whole and motion within the molecule, each for itself.

    The first half of the latents moves points as ``within`` does, the second takes all along with what is ``still``
    among those that ``moves`` displaces.
    """

    def __init__(self, within: Deformation, still: Still, moves: Moves) -> None:
        super().__init__()
        self.within, self.still, self.moves = within, still, moves

    def at(self, points: Tensor) -> Moves:
        """What maps latents ``(b 2k)`` to the displacements of points ``(n 3)``."""
        within = self.within.at(points)
        return lambda latents: within(latents.chunk(2, dim=1)[0]) + self._whole(latents, points)

    def carry(self, latents: Tensor, points: Tensor) -> Tensor:
        """Destinations of what a density gave to move, ``points`` ``(n 3)`` at rest, for latents ``(b 2k)``."""
        return self.within.carry(latents.chunk(2, dim=1)[0], points) + self._whole(latents, points)

    def _whole(self, latents: Tensor, points: Tensor) -> Tensor:
        return _rigid(self.still.amounts(self.moves(latents.chunk(2, dim=1)[1])), points)


class Beside(Deformation):
    """A motion as it is, by the first half of latents ``(b 2k)``; the second says nothing, and is there to compare with
    a motion :class:`Apart` that has as many."""

    def __init__(self, motion: Deformation) -> None:
        super().__init__()
        self.motion = motion

    def at(self, points: Tensor) -> Moves:
        """What maps latents ``(b 2k)`` to the displacements of points ``(n 3)``."""
        moves = self.motion.at(points)
        return lambda latents: moves(latents.chunk(2, dim=1)[0])

    def carry(self, latents: Tensor, points: Tensor) -> Tensor:
        """Destinations of what a density gave to move, ``points`` ``(n 3)`` at rest, for latents ``(b 2k)``."""
        return self.motion.carry(latents.chunk(2, dim=1)[0], points)


def rigid_motions(points: Tensor) -> Tensor:
    """The displacements ``(6 3 n)`` of points ``(n 3)`` in Å under the three shifts by 1 Å and, to first order, the
    three turns about axes through the origin, by a radian."""
    axes = torch.eye(3, dtype=points.dtype, device=points.device)
    turns = torch.linalg.cross(axes[:, None], points[None])
    return torch.cat([axes[:, None].expand_as(turns), turns]).transpose(1, 2).contiguous()


def _read(reads: Tensor, displacements: Tensor) -> Tensor:
    return displacements.transpose(1, 2).flatten(1) @ reads.flatten(1).T


def _rigid(amounts: Tensor, points: Tensor) -> Tensor:
    """The displacements ``(b n 3)`` of points ``(n 3)`` under so much, ``(b 6)``, of each of the
    :func:`rigid_motions`; in memory as ``(b 3 n)``."""
    shift, turn = amounts[:, :3, None], amounts[:, None, 3:].expand(-1, 3, -1)
    across = torch.linalg.cross(turn, torch.eye(3, dtype=turn.dtype, device=turn.device).expand_as(turn))
    return (shift + across.transpose(1, 2) @ points.T).transpose(1, 2)
