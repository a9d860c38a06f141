"""The training of one half: flow and latents against a fixed map, then map and flow in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from dynaflex.imaging.batch import Batch
from dynaflex.inference import descend, infer
from dynaflex.kernels import RigidityTable
from dynaflex.latents.posterior import Posterior
from dynaflex.losses.data import data_loss
from dynaflex.losses.rigidity import amounts, rigidity, stiffness, strains
from dynaflex.methods.flex.config import FlexConfig
from dynaflex.methods.meshed.folds import MapProgress
from dynaflex.methods.meshed.in_turn import InTurn
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet
from dynaflex.shapes import Tensor
from dynaflex.training.steps import Contribution

_LADDER = (0.3, 0.1)
_WIDE = (0.5,)
_SETTLED = 0.4
"""The share of the epochs after which it is known where the molecule gives."""
_ASKED = 64
"""How many particles tell it."""


@dataclass
class FlexProgress(MapProgress):
    """``strain`` ``(t)`` is that of every cell at the end of the last epoch of the flow, empty before it is known."""

    strain: Tensor = field(default_factory=lambda: torch.zeros(0))


class FlexTrainer(InTurn[FlexConfig]):
    """Trains the flow by gradients, and finds the latents of every batch anew."""

    motion = "flow"
    progress: FlexProgress

    def __init__(
        self,
        model: FlexModel,
        data: HalfSet,
        training: Tensor,
        config: FlexConfig,
        start: Callable[[], Tensor] | None = None,
    ) -> None:
        """``start()`` gives the latents ``(p k)`` to begin with; they stand still as long as the map does."""
        epochs = config.planned_epochs(-(-len(training) // config.batch_size))
        progress = FlexProgress(noise_power=torch.ones(data.grid.n_shells, device=data.device))
        super().__init__(model, data, training, config, epochs, progress)
        self.start = start
        self.rigidity_table = self._rigidity_table()
        self.optimisers["flow"] = torch.optim.Adam(self.moves.parameters(), lr=config.flow_rate)

    def _rigidity_table(self) -> RigidityTable:
        """That of the mesh, as stiff as the strain of its cells makes it once that is known."""
        mesh, strain = self.moves.mesh, self.progress.strain
        weights = amounts(mesh)
        weights = stiffness(strain, weights) if len(strain) else weights
        return RigidityTable(mesh.vertices, mesh.cells, weights).to(self.data.device)

    def _begin(self) -> None:
        if self.start is not None:
            self.table.set_mean(torch.arange(len(self.data)), self.start().to(self.data.device))

    def _begin_motion(self) -> None:
        """Cells are as stiff as they were found, and the flow's rate falls geometrically to its last value."""
        self.rigidity_table = self._rigidity_table()
        done = self.progress.epoch / max(self.epochs - 1, 1)
        rate = self.config.flow_rate * (self.config.last_flow_rate / self.config.flow_rate) ** done
        for group in self.optimisers["flow"].param_groups:
            group["lr"] = rate * self.progress.caution

    def _accumulate(self, batch: Batch, share: float, *, weights: Tensor) -> Contribution:
        """Find the latents of a micro-batch, and add its share to the gradient of the flow. Implements [3DF 7].

        The flow is judged over the posterior of the latents, by one draw, rather than at its mean. A coordinate that
        the images do not determine is drawn all over its prior, and a flow that moved anything along it would pay.
        """
        found = self._found(batch, weights)
        destinations = self.model.deformed(found.sample(batch.noise))
        prediction = self.model.render(destinations, batch.pose, batch.ctf)
        data = data_loss(prediction, batch.coefficients, weights).mean()
        rigid = rigidity(destinations, self.rigidity_table).mean()
        (share * (data + self.config.rigidity * rigid)).backward()
        figures = {"data_loss": data.item(), "geometry": rigid.item(), "kl": found.divergence().mean().item()}
        return self._contribution(batch, weights, found.mean, destinations, prediction, figures)

    @torch.no_grad()
    def _end_motion(self) -> dict[str, float]:
        if self.progress.epoch >= _SETTLED * self.epochs:
            z = self.table.mean_of(self.likelihood.training[:_ASKED])
            self.progress.strain = strains(self.model.deformed(z), self.moves.mesh).mean(dim=0)
        return {"lambda": self.config.rigidity}

    def _infer(self, batch: Batch, weights: Tensor) -> Tensor:
        return self._found(batch, weights).mean

    def _found(self, batch: Batch, weights: Tensor) -> Posterior:
        """The latents ``(b k)`` of a batch under the present model, from where they stood, and how wide they are."""
        here = self.table.mean_of(batch.index)
        if self.progress.epoch < self.config.fixed_map_epochs:
            if self.start is not None:
                return infer(self.model, batch, weights, here, 0, self.prior)
            # From zero most latents are far off, where Newton's steps are short.
            here = descend(self.model, batch, weights, here, _WIDE, self.prior).mean
        if self.config.inference == "descent":
            return descend(self.model, batch, weights, here, _LADDER, self.prior)
        return infer(self.model, batch, weights, here, 1, self.prior)
