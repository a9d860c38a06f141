"""Particles for tests, a few at a time, whose images are at hand."""

from __future__ import annotations

import torch

from dynaflex.imaging.batch import Batch
from dynaflex.imaging.pose import Pose
from dynaflex.shapes import Tensor


def seen(pose: Pose, ctf: Tensor, coefficients: Tensor | None = None, latents: Tensor | None = None) -> Batch:
    """A batch of particles counted from 0; without ``coefficients`` ``(b h w)``, one that cannot be read."""

    def read() -> Tensor:
        assert coefficients is not None, "images were read that nobody needs"
        return coefficients

    return Batch(torch.arange(len(pose)), pose, ctf, read, latents=latents)
