"""How likely a half's model makes some of its images: always the same ones, against noise that does not change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch

from dynaflex import ranks
from dynaflex.deformation.base import Deformation
from dynaflex.deformation.still import Beside, Still
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.noise import log_normaliser, noise_weights
from dynaflex.imaging.pose_refinement import PoseRefinement
from dynaflex.inference.integral import energy_of_mean, log_evidence
from dynaflex.inference.newton import infer
from dynaflex.inference.search import FROM_TRAINED
from dynaflex.latents.prior import LatentPrior
from dynaflex.latents.table import LatentTable
from dynaflex.losses.data import data_loss
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.memory import in_smaller_batches
from dynaflex.series import ALONE, Series
from dynaflex.shapes import Tensor
from dynaflex.training.how_stiff import beyond_doubt_less_likely
from dynaflex.training.steps import Progress
from dynaflex.validate.controls import gain

MOST = 256
"""At most so many particles are judged, of those in training and of those held out."""

_FEWEST = 32
_ONE_IN = 20
_AT_ONCE = 64


class Likelihood:
    """Judges the model of a half-set after each epoch, so that epochs can be compared.

    Training learns the noise anew in every epoch, so that its losses are measured in units that change. Here the noise
    is :attr:`Progress.first_noise`: what the model at rest leaves of the images when the first epoch ends, however many
    follow.
    """

    def __init__(
        self, model: FlexModel, data: HalfSet, training: Tensor, held_out: Tensor, poses: PoseRefinement | None = None
    ) -> None:
        self.model = model
        self.data = data
        self.training = some_of(training, data.count(training), data.series(training))
        self.held_out = held_out
        self.poses = poses

    @torch.no_grad()
    def figures(self, state: Progress) -> dict[str, float]:
        """``log_likelihood`` and ``gain`` of particles in training, and the same ``held_out``, in nats per particle.

        The likelihood is that of the images with the latents as they stand, up to ½ log 2π for each of their
        pixels. The gain is over the same map at rest: all particles at the mean of the latents in
        training. In the first epoch this sets the noise.
        """
        middle = ranks.rows(self.training, self._latents_of).mean(dim=0)
        at_rest, data = self.model.deformed(middle[None])[0], self.data
        if len(state.first_noise) == 0:
            state.first_noise = in_smaller_batches(partial(self._left, at_rest), _AT_ONCE)
        found: dict[str, float] = {}
        for prefix, index in (("", self.training), ("held_out_", self.held_out)):
            if len(index) == 0:
                continue
            moved, rest = ranks.rows(index, partial(self._judged, at_rest, state.first_noise))
            moved, rest = (data.per_particle(data.over_series(one, index), index) for one in (moved, rest))
            known = (moved + rest).isfinite()
            if bool(known.any()):
                found[f"{prefix}log_likelihood"] = float(moved[known].mean())
                found[f"{prefix}gain"] = float((moved - rest)[known].mean())
        return found

    @torch.no_grad()
    def find_held_out(self, weights: Tensor, prior: LatentPrior) -> None:
        """One step of Gauss-Newton, from where they stand, for the latents of the particles held out.

        Nothing is learned from them. An encoder needs no step.
        """
        table = self.model.latents
        if not isinstance(table, LatentTable) or len(self.held_out) == 0:
            return

        def found(mine: Tensor, size: int) -> Tensor:
            return torch.cat([
                infer(self.model, batch, weights, self._latents(batch), 1, prior).mean
                for batch in map(self.batch, self.data.parts(mine, size))
            ])  # fmt: skip

        latents = ranks.rows(self.held_out, lambda mine: in_smaller_batches(partial(found, mine), _AT_ONCE))
        table.set_mean(self.held_out.to(self.data.device), latents)

    def _judged(self, at_rest: Tensor, noise: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        return in_smaller_batches(partial(self._log_likelihoods, index, at_rest, noise), _AT_ONCE)

    def _log_likelihoods(self, index: Tensor, at_rest: Tensor, noise: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Of the particles ``index`` ``(p)``, as they stand and with the points ``at_rest`` ``(n 3)``, ``(p)`` each, in
        ``noise`` ``(s)`` or ``(k s)``."""
        kinds, grid = self.data.kinds, self.data.grid
        power = torch.atleast_2d(noise).expand(len(kinds), -1)
        # Images are seen in the noise of now.
        weights = torch.stack([noise_weights(one, grid) for one in power / kinds.relative(self.data.noise)])
        constant = torch.stack([log_normaliser(one, grid) for one in power])
        moved: list[Tensor] = []
        rest: list[Tensor] = []
        for part in self.data.parts(index, size):
            batch = self.batch(part)
            kind = kinds.of[batch.index]
            for points, found in ((self.model.deformed(self._latents(batch)), moved), (at_rest, rest)):
                prediction = self.model.render(points, batch.pose, batch.ctf)
                found.append(-(data_loss(prediction, batch.coefficients, weights[kind]) + constant[kind]).cpu())
        return torch.cat(moved), torch.cat(rest)

    def _left(self, at_rest: Tensor, size: int) -> Tensor:
        """The noise power ``(s)``, or ``(k s)`` of each kind, if all that the points ``at_rest`` ``(n 3)`` leave of the
        images is noise."""
        kinds = self.data.kinds
        total = torch.zeros(len(kinds), self.data.grid.n_shells, device=self.data.device)
        mine = ranks.share(self.training)
        for part in self.data.parts(mine, size):
            batch = self.batch(part)
            prediction = self.model.render(at_rest, batch.pose, batch.ctf)
            total += len(part) * self.data.power_left(prediction, batch)
        total = ranks.summed(total * ranks.counts(len(mine), len(self.training)))
        power = kinds.power(total / len(self.training), self.data.noise, self.training)
        return power[0] if len(kinds) == 1 else power

    def _latents_of(self, index: Tensor) -> Tensor:
        return torch.cat([self._latents(self.batch(part)) for part in self.data.parts(index, _AT_ONCE)])

    def _latents(self, batch: Batch) -> Tensor:
        return self.model.latents.posterior(batch).mean

    def batch(self, index: Tensor) -> Batch:
        """The particles ``index`` ``(b)``, where their poses have come to, without any noise on their latents."""
        batch = self.data.batch(index)
        return batch if self.poses is None else replace(batch, pose=self.poses.corrected(batch.index, batch.pose))


@dataclass(frozen=True)
class Judges:
    """The particles ``index`` ``(p)`` of a half that nothing is learned from, and what would make their images likely.

    Copies of a particle answer as one.

    Of some of them ``batch(index)`` is what they show, without any noise on their latents, and ``latents(batch)``
    ``(b k)`` where those stand. Every answer is a logarithm of a likelihood ``(i)``, in nats, up to a constant that is
    the same for all models in the same noise, of which ``weights`` are the inverse.
    """

    data: HalfSet
    index: Tensor
    batch: Callable[[Tensor], Batch]
    latents: Callable[[Batch], Tensor]
    prior: LatentPrior

    def evidence(self, model: FlexModel, weights: Tensor) -> Tensor:
        """How likely a model makes them, whatever their latents are, which lie near those that stand."""
        return self.likely(partial(_evidence, model, self.latents, weights, self.prior))

    def evidence_of_two(self, model: FlexModel, motion: Deformation, weights: Tensor) -> Tensor:
        """The same of another ``motion``, by two latents in place of one."""
        moving = FlexModel(model.density, motion, model.latents, model.grid)
        return self.likely(
            partial(_evidence, moving, lambda batch: self.latents(batch).repeat(1, 2), weights, self.prior)
        )

    def on_the_mean(self, model: FlexModel, coordinates: int, weights: Tensor) -> Tensor:
        """How likely they are if each shows the mean over all conformations of a model, so that nothing moves."""
        return self.likely(lambda batch: -energy_of_mean(model, batch, weights, coordinates, self.prior))

    def likely(self, each: Callable[[Batch], Tensor]) -> Tensor:
        """How likely they are, as ``each(batch)`` ``(b)`` says of its particles."""
        return self.data.per_particle(ranks.rows(self.index, partial(self.asked, each)), self.index)

    @torch.no_grad()
    def asked(self, each: Callable[[Batch], Tensor], index: Tensor) -> Tensor:
        """What ``each(batch)`` ``(b ...)`` answers for the particles ``index`` ``(p)``: ``(p ...)``."""
        return torch.cat([answer for part in self.parts(index) for answer in part.in_pieces(each)])

    def parts(self, index: Tensor) -> Iterator[Batch]:
        """The particles ``index`` ``(p)`` in batches."""
        return map(self.batch, self.data.parts(index, _AT_ONCE))


def _evidence(
    model: FlexModel, latents: Callable[[Batch], Tensor], weights: Tensor, prior: LatentPrior, batch: Batch
) -> Tensor:
    found = infer(model, batch, weights, latents(batch), FROM_TRAINED, prior)
    return log_evidence(model, batch, weights, found, prior)


def take_whole_off(
    still: Still, motion: Deformation, find: Callable[[], Deformation], evidence: Callable[[Deformation], Tensor]
) -> list[float]:
    """Take motion of the whole off, unless images are beyond doubt less likely if it has latents of its own: what they
    gain by that, and its error.

    What poses err by has nothing to do with the conformation. Where the whole turns for the molecule's sake, as two
    halves do that close towards each other, one latent tells of both, and two are one too many. Latents that tell of
    both for other reasons make a smaller difference, and to take off too much costs less (ADR 0040).

    ``find()`` finds what stands ``still`` in the ``motion``, and gives both :class:`Apart`; ``evidence`` is that of
    images held out by a motion that has twice as many latents.
    """
    together = evidence(Beside(motion))
    gained, error = gain(evidence(find()), together)
    if beyond_doubt_less_likely(gained, error):
        still.forget()
    return [gained, error]


def some_of(index: Tensor, trained: int, series: Series = ALONE) -> Tensor:
    """At most 256 particles of ``index`` ``(p)``, spread evenly; of small sets fewer, so that it takes little time.

    ``trained`` is how many particles an epoch trains on, ``series`` says which rows of ``index`` are images of one.
    """
    particles = series.count(len(index))
    count = min(particles, MOST, max(_FEWEST, trained // _ONE_IN))
    return index[series.images_of(torch.arange(count) * particles // max(count, 1))]
