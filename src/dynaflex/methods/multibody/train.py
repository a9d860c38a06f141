"""The training of one half: the poses of its bodies against a fixed map, then map and poses in turn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.inference.descent import descend
from dynaflex.inference.newton import most_probable
from dynaflex.latents.table import LatentTable
from dynaflex.losses.data import data_loss
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.methods.meshed.folds import MapProgress
from dynaflex.methods.meshed.in_turn import InTurn
from dynaflex.methods.meshed.model import empty_map, first_map
from dynaflex.methods.multibody import MultibodyConfig
from dynaflex.methods.multibody.bodies import Bodies, RigidBodies
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.inputs import Inputs
from dynaflex.shapes import Tensor
from dynaflex.training.steps import Accumulate, Contribution

_WIDE = (1.0,)


@dataclass
class BodyProgress(MapProgress):
    """What is known of the bodies' posteriors so far in an epoch: the sum of their covariances ``(m 6 6)``, and of how
    many."""

    uncertainty: Tensor = field(default_factory=lambda: torch.zeros(1, 6, 6))
    judged: int = 0

    def begin_epoch(self) -> None:
        """Forget the sums of the epoch before."""
        super().begin_epoch()
        self.uncertainty, self.judged = torch.zeros_like(self.uncertainty), 0

    def add_uncertainty(self, covariance: Tensor) -> None:
        """Add posteriors with a ``covariance`` ``(b k k)``, of which that between bodies is left out."""
        blocks = covariance.unflatten(2, (-1, 6)).unflatten(1, (-1, 6)).diagonal(dim1=1, dim2=3)
        self.uncertainty = self.uncertainty + blocks.sum(dim=0).permute(2, 0, 1)
        self.judged += len(covariance)

    def mean_uncertainty(self) -> Tensor:
        """The mean of the epoch ``(m 6 6)``."""
        return self.uncertainty / self.judged


class BodyTrainer(InTurn[MultibodyConfig]):
    """Finds the poses of the bodies by Gauss-Newton, and from all of them how widely each body moves."""

    motion = "poses"
    progress: BodyProgress

    def __init__(self, model: FlexModel, data: HalfSet, training: Tensor, config: MultibodyConfig) -> None:
        device = data.device
        progress = BodyProgress(
            noise_power=torch.ones(data.grid.n_shells, device=device),
            uncertainty=torch.zeros(config.latent_dim // 6, 6, 6, device=device),
        )
        super().__init__(model, data, training, config, config.epochs, progress)

    @torch.no_grad()
    def _accumulate(self, batch: Batch, share: float, *, weights: Tensor) -> Contribution:
        z, curvature = self._found(batch, weights)
        destinations = self.model.deformed(z)
        prediction = self.model.render(destinations, batch.pose, batch.ctf)
        terms = {
            "data_loss": data_loss(prediction, batch.coefficients, weights).mean(),
            "kl": 0.5 * z.square().sum(1).mean(),
        }
        added = self._contribution(batch, weights, z, destinations, prediction, terms)
        return replace(added, covariance=torch.linalg.inv(curvature))

    def _update(self, batches: list[Batch], accumulate: Accumulate) -> list[Contribution]:
        added = super()._update(batches, accumulate)
        for part in added:
            assert part.covariance is not None
            self.progress.add_uncertainty(part.covariance)
        return added

    def _infer(self, batch: Batch, weights: Tensor) -> Tensor:
        return self._found(batch, weights)[0]

    def _found(self, batch: Batch, weights: Tensor) -> tuple[Tensor, Tensor]:
        here = self.table.mean_of(batch.index)
        if self.progress.epoch == 0:
            # From rest most poses are far off, where Newton's steps are short.
            here = descend(self.model, batch, weights, here, _WIDE, self.prior).mean
        return most_probable(self.model, batch, weights, here, 2, self.prior)

    def _end_motion(self) -> dict[str, float]:
        """How widely the bodies move."""
        bodies = self.model.deformation
        assert isinstance(bodies, RigidBodies)
        every = torch.arange(len(self.data), device=self.data.device)
        latents = self.table.mean_of(every)
        self.table.set_mean(every, bodies.renormalised(latents, self.training, self.progress.mean_uncertainty()))
        spread = bodies.widths.square().sum(dim=2).mean(dim=0).sqrt()
        return {
            "rotation_spread": math.degrees(float(spread[:3].norm())),
            "shift_spread": float(spread[3:].norm()),
        }


def build_model(inputs: Inputs, bodies: Bodies, half: int, particles: int, config: MultibodyConfig) -> FlexModel:
    """The untrained model of one half: its consensus low-passed to R0, and all bodies at rest."""
    one = torch.tensor([math.radians(config.rotation)] * 3 + [config.shift] * 3)
    widths = one.diag().repeat(len(bodies.pivots), 1, 1)
    density = first_map(inputs, bodies.labelled, half, config.shared_resolution)
    return _assemble(density, bodies.labelled.mesh, bodies.share, bodies.pivots, widths, particles)


def empty_model(state: Mapping[str, Tensor], particles: int, grid: Grid) -> FlexModel:
    """A model of the right shapes to load the ``state`` of a checkpoint into."""
    density, mesh = empty_map(state, grid)
    share, pivots, widths = (state[f"deformation.{name}"] for name in ("share", "pivots", "widths"))
    return _assemble(density, mesh, share, pivots, widths.clone(), particles)


def _assemble(
    density: CanonicalMap, mesh: TetMesh, share: Tensor, pivots: Tensor, widths: Tensor, particles: int
) -> FlexModel:
    bodies = RigidBodies(mesh, share, pivots, widths, density.sites, density.cell, density.grid.pixel_size)
    table = LatentTable(particles, 6 * len(pivots), torch.Generator(), spread=0.0)
    return FlexModel(density, bodies, table, density.grid)
