"""How strongly the prior on the geometry is weighed against the images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from dynaflex import ranks
from dynaflex.imaging.batch import Batch, Share
from dynaflex.losses.data import data_loss
from dynaflex.losses.graph import Graph
from dynaflex.losses.isometry import deformed_lengths, isometry
from dynaflex.losses.repulsion import repulsion
from dynaflex.model import FlexModel
from dynaflex.shapes import Tensor


def geometry_loss(points: Tensor, graph: Graph, *, bonded: bool) -> Tensor:
    """The regulariser R of the paper, per particle ``(b)``: isometry, and repulsion unless the graph holds bonds."""
    lengths = deformed_lengths(points, graph)
    energy = isometry(lengths, graph)
    return energy if bonded else energy + repulsion(lengths, graph)


def balance(
    model: FlexModel,
    batches: Iterable[Batch],
    weights: Tensor,
    graph: Graph,
    *,
    ratio: float,
    strongest: float,
    bonded: bool,
) -> float:
    """lambda: the weight at which the prior's gradient on the decoder has ``ratio`` times the norm of the data's.

    Norms are summed over the given batches, shared among the ranks. Lambda never exceeds ``strongest``: before anything
    has moved the prior has no gradient and the ratio none either, and in small batches the data's gradient is mostly
    noise, which would make lambda grow until it forbids the motion it should only smooth.
    """
    # Of two layers none is hidden, and the weights of none have no gradient.
    parameters = [value for value in model.deformation.parameters() if value.numel()]
    data_norm = prior_norm = 0.0

    def gradients(batch: Batch) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        latents = model.latents.posterior(batch).sample(batch.noise).detach()
        points = model.deformed(batch.series.one(latents))
        share = len(batch) / len(batch.everyone) * batch.count
        images = model.render(batch.series.each(points), batch.pose, batch.ctf)
        data = share * data_loss(images, batch.coefficients, weights).mean()
        prior = share * batch.particles / len(batch) * geometry_loss(points, graph, bonded=bonded).mean()
        of_data = torch.autograd.grad(data, parameters, retain_graph=True)
        return of_data, torch.autograd.grad(prior, parameters)

    for batch in batches:
        whole = replace(batch, share=batch.share or Share(batch.index, batch.count))
        found = zip(*whole.in_pieces(gradients), strict=True)
        norms = tuple(_norm(ranks.summed_together([sum(one) for one in zip(*parts, strict=True)])) for parts in found)
        # A particle that spoils its batch is found when the batch is trained on; lambda does without the batch.
        if all(map(math.isfinite, norms)):
            data_norm += norms[0]
            prior_norm += norms[1]
    return min(ratio * data_norm / max(prior_norm, 1e-12), strongest)


def _norm(gradients: Iterable[Tensor]) -> float:
    return float(torch.stack([g.square().sum() for g in gradients]).sum().sqrt())
