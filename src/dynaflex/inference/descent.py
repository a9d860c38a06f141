"""The likeliest latents of a particle under a fixed model, by coordinate descent: their energy is never raised."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from dynaflex.imaging.batch import Batch
from dynaflex.inference.energy import energies, shifted
from dynaflex.latents.posterior import Posterior
from dynaflex.latents.prior import GAUSSIAN, LatentPrior
from dynaflex.model import FlexModel
from dynaflex.shapes import Tensor

_RUNGS = 2


@torch.no_grad()
def descend(
    model: FlexModel,
    batch: Batch,
    weights: Tensor,
    start: Tensor,
    steps: Sequence[float],
    prior: LatentPrior = GAUSSIAN,
) -> Posterior:
    """The most probable latents ``(b k)`` of a batch by coordinate descent, as in the paper, and their widths.

    One sweep over the coordinates for each of ``steps``, which should narrow: the energy is taken on a ladder of
    candidates that many units apart around the present value, then at the vertex of the parabola through the best and
    its neighbours: 5 renderings a coordinate. The width is the last parabola's, with the other coordinates held fixed;
    where coordinates hang together it is narrower than that of :func:`infer`.
    """
    z = batch.series.one(start).clone()
    energy = energies(model, batch, weights, z, prior)
    precision = prior.curvature(z)
    for spacing in steps:
        for k in range(z.shape[1]):

            def energy_at(offset: Tensor, z: Tensor = z, k: int = k) -> Tensor:
                return energies(model, batch, weights, shifted(z, k, offset), prior)

            offset, energy, bend = _line_search(energy_at, energy, spacing)
            z = shifted(z, k, offset)
            precision[:, k] = torch.maximum(bend, prior.curvature(z)[:, k])
    return Posterior(*map(batch.series.each, (z, -0.5 * precision.log())))


def _line_search(
    energy_at: Callable[[Tensor], Tensor], energy: Tensor, spacing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The best of a ladder of offsets and the vertex of its parabola: offset, energy and second derivative, ``(b)``.

    ``energy`` is that of offset 0, so the result is never above it.
    """
    offsets = spacing * torch.arange(-_RUNGS, _RUNGS + 1, device=energy.device)
    ladder = torch.stack([energy if m == _RUNGS else energy_at(offset) for m, offset in enumerate(offsets)])
    lowest, best = ladder.min(dim=0)
    middle = best.clamp(1, len(offsets) - 2)
    below, here, above = (ladder.gather(0, (middle + side)[None])[0] for side in (-1, 0, 1))
    bend = below - 2.0 * here + above
    rungs = 0.5 * (below - above) / bend.clamp(min=1e-12)
    vertex = offsets[middle] + spacing * rungs.clamp(-_RUNGS, _RUNGS)
    vertex_energy = energy_at(vertex)
    offset = torch.where(vertex_energy < lowest, vertex, offsets[best])
    return offset, torch.minimum(vertex_energy, lowest), bend / spacing**2
