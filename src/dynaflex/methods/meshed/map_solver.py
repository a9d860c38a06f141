"""The canonical maps of a half, solved for while the flow and the latents stand still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch

from dynaflex import ranks
from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.pose import Pose, project
from dynaflex.methods.meshed.folds import FOLDS, fold_of
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet
from dynaflex.reconstruct.field import Field, Region
from dynaflex.reconstruct.iterative import solve
from dynaflex.reconstruct.operator import Operator
from dynaflex.reconstruct.prior import signal_to_noise_prior
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
    """Finds the most probable map of each fold of a half's particles, given where the flow carries them.

    ``E_data`` is quadratic in the map, so it is not trained by gradients but solved for: conjugate gradients over all
    particles of a fold at once, from zero. How strong the map may be in each shell is what two halves of these
    particles agree on, see :func:`signal_to_noise_prior`. So it is a function of images, motion and noise alone. From
    the map as it stood, without the prior, every epoch would fit the noise of the images a little further.
    """

    def __init__(self, model: FlexModel, density: CanonicalMap, data: HalfSet, training: Tensor) -> None:
        self.data = data
        self.folds = [training[fold_of(training, data.particle) == fold] for fold in range(FOLDS)]
        self.field = ModelField(model, density)

    def solved(
        self,
        latents: Callable[[Tensor], Tensor],
        noise_power: Tensor,
        *,
        band: int,
        iterations: int,
        every_batch: Callable[[int, int], None],
    ) -> Tensor:
        """The most probable map below shell ``band`` from the particles of either fold, ``(2 n)``.

        Their latents are ``latents(index (b))`` ``(b k)``, and the noise of their images has ``noise_power`` ``(s)``.
        """
        operator = Operator(self.field, noise_power)
        total = (iterations + 1) * sum(map(len, self.folds))
        done = 0

        def batches(fold: Tensor) -> Iterator[Batch]:
            nonlocal done
            mine = ranks.share_of_pairs(fold)
            for part in mine.split(_AT_ONCE) if len(mine) else ():
                yield self.data.batch(part, latents=latents(part.to(self.data.device)))
                done += len(part) * ranks.size()
                every_batch(min(done, total), total)

        def map_of(fold: Tensor) -> Tensor:
            equations = operator.equations(partial(batches, fold))
            volume = solve(equations, iterations, band=band, prior=signal_to_noise_prior)
            return self.field.region.from_volume(volume)

        return torch.stack([map_of(fold) for fold in self.folds])
