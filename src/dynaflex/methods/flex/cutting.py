"""The training of a model whose mesh may be cut once it is seen what slides."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import partial

import torch

from dynaflex import ranks, spent
from dynaflex.deformation.mesh_flow import MeshFlow
from dynaflex.imaging.batch import Batch
from dynaflex.mesh.segments import LabelledMesh
from dynaflex.methods.flex import where_cut
from dynaflex.methods.flex.build import cut_model, empty_model
from dynaflex.methods.flex.config import FlexConfig
from dynaflex.methods.flex.where_cut import Conformations
from dynaflex.methods.flex.whose import told_apart
from dynaflex.methods.meshed.in_turn import InTurn
from dynaflex.model import FlexModel
from dynaflex.prepare.half import keyed_generator
from dynaflex.shapes import Tensor
from dynaflex.training.steps import Diverged
from dynaflex.training.undone import undone
from dynaflex.validate.controls import SURE, gain

_ASKED = 64
"""How many particles show what bends and what slides."""
_TELLING = 4096
"""How many images, at most, tell which of two bodies a voxel goes with."""
_AT_ONCE = 64
_STREAM_CUT = 5


class TrainerOnMesh(InTurn[FlexConfig]):
    """Trains a flow on a mesh, which is cut where held-out images are likelier for it."""

    def take(self, model: FlexModel) -> None:
        """Train this ``model`` from now on."""
        super().take(model)
        assert isinstance(self.moves, MeshFlow)
        self.flow = self.moves
        self.optimisers["flow"] = torch.optim.Adam(self.flow.parameters(), lr=self.config.flow_rate)

    def expect(self, state: Mapping[str, Tensor]) -> None:
        """Make room for the ``state`` of a model, whose mesh may have been cut."""
        if len(state["deformation.vertices"]) != len(self.flow.vertices):
            self.take(empty_model(state, len(self.data), self.data.grid, self.config).to(self.data.device))

    @abstractmethod
    def _evidence(self, weights: Tensor) -> Tensor:
        """The logarithm ``(i)`` of how likely the model makes the images held out, whatever their latents are."""

    def _some_latents(self) -> Tensor:
        """Those ``(m k)`` of some particles in training, each once."""
        known = self.likelihood.training
        return self.table.mean_of(self.data.series(known).one(known)[:_ASKED])

    @spent.on("stiffness")
    def _choose_mesh(self, weights: Tensor) -> dict[str, list[float]]:
        """Cut the mesh where bodies slide along each other, if held-out particles are likelier after as many updates
        from nothing as there were; and what came of it: segments, gain and error. One segment: nothing slides.

        On a mesh that holds them together the motion is bent, and shows neither where one ends nor where they hang
        together. So it is learned anew while all of them are apart, and then once more as they are joined.
        """
        whole, mesh, points = self.model, self.flow.mesh, self.map.landmarks()
        if int(mesh.segment.max()) > 0:
            return {}
        bodies = where_cut.that_slide(self.map, self._conformations(points))
        if bodies is None:
            return {"cut": [1, 0.0, 0.0]}
        held = self._evidence(weights)
        with undone(self):
            try:
                bodies = self._told_apart(points, bodies)
                gained, error = self._from_nothing(whole, where_cut.apart(mesh, self.map, bodies), held, weights)
                if gained > 0.0:
                    bodies = self._told_apart(points, bodies)
                    cut = where_cut.joined(mesh, self.map, bodies, self._conformations(points))
                    gained, error = self._from_nothing(whole, cut, held, weights)
            except Diverged:
                gained, error = 0.0, 0.0
            taken, found = self.model, copy.deepcopy(self.model.state_dict())
            remembered = copy.deepcopy(self.optimisers["flow"].state_dict())
            self.take(whole)
        if gained > SURE * error:
            self.take(taken)
            self.model.load_state_dict(found)
            self.optimisers["flow"].load_state_dict(remembered)
        return {"cut": [int(bodies.max()) + 1, gained, error]}

    def _from_nothing(self, whole: FlexModel, cut: LabelledMesh, held: Tensor, weights: Tensor) -> tuple[float, float]:
        """Train a flow on another mesh by the updates of all epochs in which the map stands still, and latents with it.

        It gives by how much likelier than ``held`` ``(i)`` the particles held out are, and its error.
        """
        generator = keyed_generator(self.config.seed, self.data.half, _STREAM_CUT)
        self.take(cut_model(whole, cut, self.config, generator).to(self.data.device))
        for epoch in range(self.config.fixed_map_epochs):
            self.progress.epoch = epoch
            self._begin_motion()
            for batches in self._updates(skip=0):
                self._update(batches, partial(self._cross_fitted, weights=weights))
        return gain(self._evidence(weights), held)

    @torch.no_grad()
    def _conformations(self, points: Tensor) -> Conformations:
        """Where ``points`` ``(n 3)`` are in some particles."""
        return Conformations.of_all_ranks(points, self._moved(points, self._some_latents()))

    def _moved(self, points: Tensor, latents: Tensor) -> Tensor:
        return points + self.flow.displacement(latents, points)

    def _told_apart(self, points: Tensor, bodies: Tensor) -> Tensor:
        """Which body each voxel ``(m)`` goes with, where ``points`` ``(n 3)`` show the motion of ``bodies`` ``(m)``."""
        mine = ranks.share_of_pairs(self.data.some(self.training, _TELLING))

        def batches() -> Iterator[Batch]:
            for part in mine.split(_AT_ONCE):
                yield self.data.batch(part, latents=self.table.mean_of(part.to(self.data.device)))

        return told_apart(self.map, bodies, points, partial(self._moved, points), batches, self.progress.noise_power)
