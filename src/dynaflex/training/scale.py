"""The grey scale of a map against that of the particles."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from dynaflex import ranks
from dynaflex.errors import InputError
from dynaflex.imaging.batch import Batch
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet


@torch.no_grad()
def matching_scale(model: FlexModel, data: HalfSet, batches: Iterable[Batch]) -> float:
    """The factor by which the density at rest explains the images of some ``batches``, shared among the ranks, best.

    Raises:
        InputError: the images are the negative of the density.
    """

    def products(batch: Batch) -> list[float]:
        prediction = model.render(model.density.points(), batch.pose, batch.ctf)
        both = (prediction * batch.coefficients.conj()).real.sum(), prediction.abs().square().sum()
        return (batch.count * torch.stack(both)).tolist()

    found = [both for batch in batches for both in batch.in_pieces(products)]
    cross, norm = (math.fsum(values) for values in zip(*found, strict=True))
    cross, norm = ranks.summed_together([torch.tensor([cross, norm], dtype=torch.float64)])[0].tolist()
    # Noise of unit variance has box² times the power of a pixel in every coefficient.
    if cross < -5.0 * data.grid.box * math.sqrt(norm):
        raise InputError(
            "images.contrast",
            "the particles are the negative of the map",
            file=data.particles.source.path,
            expected="white molecules in both",
            fix="--invert-contrast, if the map is white",
        )
    return max(cross, 1e-3 * norm) / norm
