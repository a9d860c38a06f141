"""What an update of the flow lowers: the misfit of some images and the strain, at latents that are found on the way."""

from __future__ import annotations

import torch

from dynaflex.deformation.mesh_flow import MeshFlow
from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.kernels import RigidityTable
from dynaflex.latents.posterior import Posterior
from dynaflex.latents.table import LatentTable
from dynaflex.losses.data import data_loss
from dynaflex.losses.rigidity import rigidity
from dynaflex.model import Batch, FlexModel
from dynaflex.pipelines.embed import descend, infer
from dynaflex.pipelines.flex.config import FlexConfig
from dynaflex.pipelines.half import HalfSet
from dynaflex.pipelines.steps import Contribution
from dynaflex.shapes import Tensor

_LADDER = (0.3, 0.1)
_WIDE = (0.5,)


class FlowObjective:
    """The objective of a flow and of the latents of its particles, and the gradients that belong to it."""

    def __init__(self, model: FlexModel, data: HalfSet, config: FlexConfig, given: bool) -> None:
        """Latents that are ``given`` stand still while the map does."""
        self.model = model
        self.data = data
        self.config = config
        self.given = given
        self.flow, self.map, self.table = _parts(model)
        mesh = self.flow.mesh
        self.rigidity_table = RigidityTable(mesh.vertices, mesh.cells, mesh.weights).to(data.device)
        self.prior = config.latent_prior

    def accumulate(self, batch: Batch, share: float, *, weights: Tensor, fixed_map: bool) -> Contribution:
        """Find the latents of a batch, and add its share to the gradient of the flow. Implements [3DF 7].

        The flow is judged over the posterior of the latents, by one draw, rather than at its mean. A coordinate that
        the images do not determine is drawn all over its prior, and a flow that moved anything along it would pay.
        """
        found = self.infer(batch, weights, fixed_map)
        destinations = self.model.deformed(found.sample(batch.noise))
        prediction = self.model.render(destinations, batch.pose, batch.ctf)
        data = data_loss(prediction, batch.coefficients, weights).mean()
        rigid = rigidity(destinations, self.rigidity_table).mean()
        (share * (data + self.config.rigidity * rigid)).backward()
        with torch.no_grad():
            moved = (destinations - self.model.density.points()).square().sum(-1).mean().sqrt()
            left = self.data.power_left(prediction, batch)
        figures = {
            "data_loss": data.item(), "geometry": rigid.item(), "kl": found.divergence().mean().item(),
            "rms_displacement": moved.item(), "latent_spread": found.mean.square().mean().sqrt().item(),
        }  # fmt: skip
        return Contribution(batch.index, figures, left, found.mean)

    def infer(self, batch: Batch, weights: Tensor, fixed_map: bool) -> Posterior:
        """The latents ``(b k)`` of a batch under the present model, from where they stood, and how wide they are."""
        here = self.table.mean_of(batch.index)
        if fixed_map:
            if self.given:
                return infer(self.model, batch, weights, here, 0, self.prior)
            # From zero most latents are far off, where Newton's steps are short.
            here = descend(self.model, batch, weights, here, _WIDE, self.prior).mean
        if self.config.inference == "descent":
            return descend(self.model, batch, weights, here, _LADDER, self.prior)
        return infer(self.model, batch, weights, here, 1, self.prior)


def _parts(model: FlexModel) -> tuple[MeshFlow, CanonicalMap, LatentTable]:
    """The three parts of a model of 3DFlex, by their own types."""
    flow, density, table = model.deformation, model.density, model.latents
    assert isinstance(flow, MeshFlow)
    assert isinstance(density, CanonicalMap)
    assert isinstance(table, LatentTable)
    return flow, density, table
