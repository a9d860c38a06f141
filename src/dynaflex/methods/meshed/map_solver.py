"""The canonical map of a half, solved for while the flow and the latents stand still."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.pose import Pose, project
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet
from dynaflex.reconstruct.equations import RampFilter
from dynaflex.reconstruct.field import Field, Region
from dynaflex.reconstruct.iterative import solve
from dynaflex.reconstruct.operator import Operator
from dynaflex.reconstruct.rigid import ramp_filter
from dynaflex.shapes import Tensor

_AT_ONCE = 64


class ModelField(Field):
    """The voxels of a model's canonical map, carried by its mesh."""

    def __init__(self, model: FlexModel, density: CanonicalMap) -> None:
        super().__init__(Region(density.grid, density.voxels))
        self.table = density.table
        self._model = model

    @torch.no_grad()
    def image_points(self, latents: Tensor | None, pose: Pose) -> Tensor:
        """Image positions ``(b v 2)`` in Å of the vertices."""
        at_rest = self._model.density.points()
        return project(at_rest if latents is None else self._model.deformed(latents), pose)


class MapSolver:
    """Finds the map V that explains a half's particles best, given where the flow carries them.

    ``E_data`` is quadratic in V, so V is not trained by gradients but solved for: conjugate gradients over all
    particles at once, from the map as it stands. The filter that conditions them depends on poses and CTFs alone and is
    made once.
    """

    def __init__(self, model: FlexModel, density: CanonicalMap, data: HalfSet, training: Tensor) -> None:
        self.density = density
        self.data = data
        self.training = training
        self.field = ModelField(model, density)
        self._ramp: RampFilter | None = None

    def update(
        self,
        latents: Callable[[Tensor], Tensor],
        noise_power: Tensor,
        *,
        band: int,
        iterations: int,
        every_batch: Callable[[int, int], None],
    ) -> None:
        """Replace V by the least-squares map below shell ``band``, for ``latents(index (b))`` ``(b k)``."""
        operator = Operator(self.field, noise_power)
        sweeps = iterations + 2
        done = 0

        def batches() -> Iterator[Batch]:
            nonlocal done
            for part in self.training.split(_AT_ONCE):
                yield self.data.batch(part, latents=latents(part.to(self.data.device)))
                done += len(part)
                every_batch(min(done, sweeps * len(self.training)), sweeps * len(self.training))

        if self._ramp is None:
            self._ramp = ramp_filter(self.density.grid, batches, noise_power)
        equations = operator.equations(batches, self._ramp)
        volume = solve(equations, iterations, start=self.density.own_volume(), band=band)
        self.density.values.copy_(self.field.region.from_volume(volume))
