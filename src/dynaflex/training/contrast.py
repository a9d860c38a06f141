"""The contrasts of a half-set's particles, found while its motion is learned, and the noise that they are found in."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dynaflex import ranks
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.contrast import contrasts, in_common, matching
from dynaflex.imaging.noise import noise_weights
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet
from dynaflex.shapes import Tensor
from dynaflex.training.steps import Progress

_AT_ONCE = 256


class Contrasts:
    """Keeps what every prediction says about its particle's contrast, and at the end of an epoch believes it.

    Within an epoch contrasts stand still, so that a training that was stopped within it goes on as it would have.
    """

    def __init__(self, data: HalfSet, training: Tensor, progress: Progress) -> None:
        self.data = data
        self.training = training
        self.progress = progress
        self.restored()

    def restored(self) -> None:
        """Take over what the progress holds, or 1 for all; and the noise of each group, in which images are seen."""
        if not len(self.progress.contrast):
            one = torch.ones(len(self.data), device=self.data.device)
            self.progress.contrast, self.progress.factor, self.progress.factor_error = one, one.clone(), one.clone()
        self.data.contrast = self.progress.contrast
        self.progress.show_noise(self.data)

    @torch.no_grad()
    def begin(self, model: FlexModel) -> None:
        """What the map at rest says, before anything moves: of latents that begin where contrast is unknown, the first
        would be the contrast. How groups differ in their noise is learned here too; of all, it is that of an epoch."""
        at_rest = model.density.points()
        left = torch.zeros(len(self.data.kinds), self.data.grid.n_shells, device=self.data.device)
        mine = ranks.share(self.training)
        of = len(self.training) / ranks.counts(len(mine), len(self.training))
        for part in self.data.parts(mine, _AT_ONCE):
            for power in self.data.batch(part).in_pieces(
                lambda batch: len(batch) * self.data.power_left(model.render(at_rest, batch.pose, batch.ctf), batch)
            ):
                left += power / of
        power = self.progress.tell_groups_apart(ranks.summed(left), self.data, self.training)
        weights = noise_weights(power, self.data.grid)

        def see(batch: Batch) -> None:
            self.seen(batch, model.render(at_rest, batch.pose, batch.ctf), weights)

        def look(index: Tensor) -> None:
            for part in self.data.parts(index, _AT_ONCE):
                self.data.batch(part).in_pieces(see)

        self.look(torch.arange(len(self.data)), look)
        self.settle()

    def look(self, index: Tensor, look: Callable[[Tensor], None]) -> None:
        """Have this rank ``look`` at its share of the particles ``index`` ``(b)``, and note what all of them have
        seen."""

        def looked(mine: Tensor) -> tuple[Tensor, Tensor]:
            look(mine)
            return self.progress.factor[mine], self.progress.factor_error[mine]

        factor, error = ranks.rows(index, looked)
        self.progress.factor[index], self.progress.factor_error[index] = factor, error

    @torch.no_grad()
    def seen(self, batch: Batch, prediction: Tensor, weights: Tensor) -> None:
        """Note at which contrast a batch is predicted best; ``prediction`` ``(b h w)`` has the present one.

        Images of a tilt series have one: only what they share can be taken for a conformation, which they share too.
        """
        now = self.data.contrast[batch.index]
        factor, error = in_common(*matching(prediction, batch.coefficients, weights), batch.series)
        self.progress.factor[batch.index] = now * factor
        self.progress.factor_error[batch.index] = now * error

    def settle(self) -> dict[str, float]:
        """Let the images of the next epoch have the contrasts that were noted; their spread in training."""
        state = self.progress
        training = self.data.series(self.training).one(self.training).to(self.data.device)
        state.contrast = contrasts(state.factor, state.factor_error, training, self.data.kinds.of)
        self.restored()
        return {"contrast_spread": float(state.contrast[self.training].log().std(correction=0))}
