"""Small corrections to the poses of a refinement, held back by a prior."""

from __future__ import annotations

import math

import roma
import torch

from dynaflex.imaging.pose import Pose
from dynaflex.shapes import Tensor

ROTATION_PRIOR = math.radians(1.0)
SHIFT_PRIOR = 1.0


class PoseRefinement(torch.nn.Module):
    """One correction for each particle: a rotation vector and a shift, in units of their priors' standard deviations.

    The priors are 1 degree about each axis and 1 Å along each. Corrections start at zero and turn the particle in the
    frame of its image.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.table = torch.nn.Embedding.from_pretrained(torch.zeros(count, 5), freeze=False, sparse=True)

    def corrected(self, index: Tensor, pose: Pose) -> Pose:
        """The poses of the particles ``index`` ``(b)``, corrected."""
        correction = self.table(index)
        turn = roma.rotvec_to_rotmat(correction[:, :3] * ROTATION_PRIOR)
        return Pose(turn @ pose.rotation, pose.shift + correction[:, 3:] * SHIFT_PRIOR)

    def penalty(self, index: Tensor) -> Tensor:
        """Minus the logarithm of the prior, up to a constant, one value per particle ``(b)``."""
        return 0.5 * self.table(index).square().sum(dim=1)

    def drift(self) -> dict[str, float]:
        """How far the poses have moved: root mean square and largest, in degrees and Å."""
        table = self.table.weight.detach()
        angle = torch.rad2deg(table[:, :3].norm(dim=1) * ROTATION_PRIOR)
        distance = table[:, 3:].norm(dim=1) * SHIFT_PRIOR
        return {
            "rms_degrees": angle.square().mean().sqrt().item(),
            "max_degrees": angle.max().item(),
            "rms_angstrom": distance.square().mean().sqrt().item(),
            "max_angstrom": distance.max().item(),
        }
