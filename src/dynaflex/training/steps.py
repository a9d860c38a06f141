"""Updates that survive numbers that are not finite, and a device with too little memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch

from dynaflex import ranks
from dynaflex.errors import NumericalError
from dynaflex.imaging.batch import Batch, require_fewer
from dynaflex.imaging.noise import log_normaliser
from dynaflex.imaging.noise_groups import GroupNoise
from dynaflex.prepare.half import HalfSet
from dynaflex.shapes import Tensor

PATIENCE = 10
"""Updates that may be skipped in an epoch, or in a row."""


class Diverged(NumericalError):
    """A training that cannot go on from where it stands."""


@dataclass
class Progress:
    """What every training has to remember beside its parameters; a method adds to it.

    ``epoch`` counts whole epochs. To the epoch that follows belong ``step``, the particles ``seen``, the sums
    ``totals`` of figures and ``power`` ``(k s)`` of residuals, of each kind of noise, and the updates ``skipped``.
    ``quarantine`` lists particles of the half-set that train nothing any more; after each of the ``rollbacks`` all
    rates are halved. ``noise_power`` ``(s)`` is learned anew in every epoch, and ``group_noise`` ``(n s)``, what that
    of the optics groups ``groups`` ``(n)`` is to it, empty where all are alike; ``first_noise``, of the first epoch's
    end and empty before it, is what every epoch is judged by: ``(s)``, or ``(k s)`` where there are kinds of noise.
    ``contrast`` ``(p)`` is that of the half-set's particles, empty before it is known, and ``factor`` with its
    ``factor_error`` ``(p)`` what their newest predictions say of it.
    """

    epoch: int = 0
    noise_power: Tensor = field(default_factory=lambda: torch.ones(1))
    groups: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    group_noise: Tensor = field(default_factory=lambda: torch.ones(0, 1))
    first_noise: Tensor = field(default_factory=lambda: torch.zeros(0))
    contrast: Tensor = field(default_factory=lambda: torch.zeros(0))
    factor: Tensor = field(default_factory=lambda: torch.zeros(0))
    factor_error: Tensor = field(default_factory=lambda: torch.zeros(0))
    step: int = 0
    seen: int = 0
    totals: dict[str, float] = field(default_factory=dict)
    power: Tensor = field(default_factory=lambda: torch.zeros(1))
    skipped: int = 0
    skipped_in_a_row: int = 0
    quarantine: list[int] = field(default_factory=list)
    rollbacks: int = 0

    @property
    def caution(self) -> float:
        """What all learning rates are multiplied by."""
        return 0.5**self.rollbacks

    def begin_epoch(self) -> None:
        """Forget the sums of the epoch before."""
        self.step = self.seen = self.skipped = 0
        self.totals = {}
        self.power = torch.zeros_like(self.noise_power)

    def add(self, particles: int, of: int, figures: Mapping[str, float], left: Tensor) -> None:
        """Add figures and the residual's power, means over some ``particles``, to the means over all ``of`` them."""
        self.seen += particles
        for name, value in figures.items():
            self.totals[name] = self.totals.get(name, 0.0) + value * (particles / of)
        self.power = self.power + particles / of * left

    def figures(self, data: HalfSet, training: Tensor) -> dict[str, float]:
        """The means of the epoch so far over particles in ``training`` ``(t)``; with the noise's part, so that the data
        loss is a likelihood's in any noise.

        Without it the loss of every epoch is near half the number of pixels, whatever the fit.
        """
        noise = float(data.log_normalisers(self.noise_power, training).mean())
        return {name: value + noise * (name == "data_loss") for name, value in self.totals.items()}

    def learn_noise(self, data: HalfSet, training: Tensor) -> float:
        """Let the power that the epoch left of the images in ``training`` ``(t)`` move that of the noise.

        It moves all the way after the first epoch and half of it later. Particles that were not seen are taken to be
        like the others. Returns the epoch's negative log-likelihood of an image under the noise that is likeliest given
        what was left, up to a constant.

        Raises:
            Diverged: none was seen.
        """
        if self.seen == 0:
            raise Diverged("training.diverged", f"no update of epoch {self.epoch + 1} had a finite gradient")
        kinds = data.kinds
        left = kinds.power(torch.atleast_2d(self.power) * (len(training) / self.seen), data.noise, training)
        power = left if self.epoch == 0 else 0.5 * (self.noise_power * kinds.relative(data.noise) + left)
        self.noise_power = self._tell_apart(power, data, training)
        normalisers = torch.stack([log_normaliser(one, data.grid) for one in left])
        return float((kinds.share(training) * normalisers).sum())

    def tell_groups_apart(self, left: Tensor, data: HalfSet, training: Tensor) -> Tensor:
        """Learn how groups differ, and nothing else, from what is ``left`` ``(k s)`` in the mean over images in
        ``training`` ``(t)``; the power ``(s)`` of all of them."""
        return self._tell_apart(data.kinds.power(left, data.noise, training), data, training)

    def _tell_apart(self, power: Tensor, data: HalfSet, training: Tensor) -> Tensor:
        mean, noise = data.kinds.noise(power, training)
        self.groups, self.group_noise = noise.numbers, noise.relative
        self.show_noise(data)
        return mean

    def show_noise(self, data: HalfSet) -> None:
        """See the images of a half-set in the noise that was learned last."""
        data.see(GroupNoise(self.groups, self.group_noise))


@dataclass(frozen=True)
class Contribution:
    """What b particles added to an update: figures, the power ``(k s)`` of their residual, and what was found for each
    of them, ``latents`` ``(b k)`` and their ``covariance`` ``(b k k)``."""

    index: Tensor
    figures: dict[str, float]
    left: Tensor
    latents: Tensor | None = None
    covariance: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        """Those in which every number is to be finite, as in the figures."""
        return [self.left] if self.latents is None else [self.left, self.latents]

    def found(self) -> dict[str, Tensor]:
        """What it has a row of for each particle."""
        both = {"latents": self.latents, "covariance": self.covariance}
        return {name: value for name, value in both.items() if value is not None}


def told(terms: Mapping[str, Tensor]) -> dict[str, float]:
    """Figures from the device, waited for together."""
    return dict(zip(terms, torch.stack([term.detach() for term in terms.values()]).tolist(), strict=True))


Accumulate = Callable[[Batch, float], Contribution]
"""``accumulate(batch, share)`` adds ``share`` of the mean gradient over the batch to the parameters' gradients."""


class Steps:
    """Takes the updates of a half's training, at most ``micro_batch`` particles at a time on the device.

    A particle without which the gradient is finite is quarantined: it trains nothing any more. An update whose
    gradient is not finite for any other reason is skipped. Memory decides how many particles are held at once, never
    how many make an update. Ranks have a share of it each, and are all the same after one exchange of what they add.
    """

    def __init__(self, data: HalfSet, progress: Progress, micro_batch: int) -> None:
        self.data = data
        self.progress = progress
        self.micro_batch = micro_batch
        self._like: Contribution | None = None

    def take(
        self, batches: Iterable[Batch], accumulate: Accumulate, optimisers: Iterable[torch.optim.Optimizer]
    ) -> list[Contribution]:
        """One update of the ``optimisers`` from all batches together; returns nothing if it was skipped.

        Raises:
            Diverged: too many updates in a row, or in this epoch, had to be skipped, or a parameter is not finite.
            ResourceError: the memory of the device does not hold a single particle.
        """
        optimisers = list(optimisers)
        batches = self._without_quarantined(batches)
        added = self._gradients(batches, accumulate, optimisers)
        finite = _finite(added, optimisers)
        if not finite:
            culprits = self._culprits(batches, accumulate, optimisers)
            self.progress.quarantine.extend(culprits)
            batches = self._without_quarantined(batches) if culprits else []
            added = self._gradients(batches, accumulate, optimisers)
            finite = _finite(added, optimisers)
        if not added or not finite:
            self._skip(optimisers)
            return []
        for optimiser in optimisers:
            optimiser.step()
        self.progress.skipped_in_a_row = 0
        return added

    def _gradients(
        self, batches: list[Batch], accumulate: Accumulate, optimisers: list[torch.optim.Optimizer]
    ) -> list[Contribution]:
        added = self._own(batches, accumulate, optimisers)
        return added if ranks.size() == 1 else self._of_all(added, batches, optimisers)

    def _own(
        self, batches: list[Batch], accumulate: Accumulate, optimisers: list[torch.optim.Optimizer]
    ) -> list[Contribution]:
        """What this rank's share adds."""
        size = sum(len(batch.everyone) for batch in batches)
        while True:
            for optimiser in optimisers:
                optimiser.zero_grad()
            try:
                return [
                    accumulate(part, len(part.index) / size * batch.count)
                    for batch in batches
                    if len(batch)
                    for part in batch.split(self.micro_batch)
                ]
            except Exception as error:
                require_fewer(error, self.micro_batch)
            self.micro_batch //= 2

    def _of_all(
        self, added: list[Contribution], batches: list[Batch], optimisers: list[torch.optim.Optimizer]
    ) -> list[Contribution]:
        """What all ranks add, as one; gradients, and what progress keeps of these particles, become those of all."""
        self._like = like = added[0] if added else self._like
        if like is None or not batches:
            return added
        everyone = torch.cat([batch.everyone for batch in batches])
        # A particle that all ranks have counts a part in each of them.
        counts = torch.cat([batch.index.new_full((len(batch),), batch.count, dtype=torch.float64) for batch in batches])
        mine = ranks.Rows(everyone, torch.cat([batch.index for batch in batches]), counts)
        weights = [float(mine.counted(part.index).sum()) / len(everyone) for part in added]
        figures, left = torch.zeros(len(like.figures), dtype=torch.float64), like.left.new_zeros(like.left.shape)
        for part, weight in zip(added, weights, strict=True):
            figures += weight * torch.tensor(list(part.figures.values()), dtype=torch.float64)
            left = left + weight * part.left
        tables = [table for table in (self.progress.factor, self.progress.factor_error) if len(table)]
        found = {
            name: mine.spread(
                torch.cat([part.index for part in added]) if added else everyone[:0],
                torch.cat([part.found()[name] for part in added]) if added else value[:0],
            )
            for name, value in like.found().items()
        }
        kept = [mine.spread(mine.index, table[mine.index]) for table in tables]
        gradients = ranks.Gradients(_parameters(optimisers), _tables(optimisers), mine)
        sums = iter(ranks.summed_together([figures, left, *found.values(), *kept, *gradients.values()]))
        figures, left, total = next(sums), next(sums), {name: next(sums) for name in found}
        for table in tables:
            table[everyone] = next(sums)
        gradients.become(list(sums))
        return [Contribution(everyone, dict(zip(like.figures, figures.tolist(), strict=True)), left, **total)]

    def _culprits(
        self, batches: list[Batch], accumulate: Accumulate, optimisers: list[torch.optim.Optimizer]
    ) -> list[int]:
        """The particles that alone make the gradient something else than finite; none if half of them do."""
        everyone = torch.cat([batch.everyone for batch in batches]).tolist()
        alone = [replace(single, share=None) for batch in batches if len(batch) for single in batch.split(1)]
        spoilt = [one for one in alone if not _finite(self._own([one], accumulate, optimisers), optimisers)]
        found = [row for one in spoilt for row in one.index.tolist()]
        (said,) = ranks.summed_together([torch.tensor([float(one in found) for one in everyone])])
        found = [one for one, times in zip(everyone, said.tolist(), strict=True) if times > 0.0]
        return found if 2 * len(found) < len(everyone) else []

    def _skip(self, optimisers: list[torch.optim.Optimizer]) -> None:
        state = self.progress
        state.skipped += 1
        state.skipped_in_a_row += 1
        lost = not all(bool(value.detach().isfinite().all()) for value in _parameters(optimisers))
        if lost or max(state.skipped, state.skipped_in_a_row) > PATIENCE:
            raise Diverged(
                "training.diverged",
                "a parameter is not finite" if lost else f"{state.skipped} updates of one epoch had no finite gradient",
                found=f"half {self.data.half}, epoch {state.epoch + 1}",
            )

    def _without_quarantined(self, batches: Iterable[Batch]) -> list[Batch]:
        if not self.progress.quarantine:
            return list(batches)
        bad = self.progress.quarantine
        left = [batch.where(lambda index: ~torch.isin(index, index.new_tensor(bad))) for batch in batches]
        return [batch for batch in left if len(batch.everyone)]


def _finite(added: list[Contribution], optimisers: Iterable[torch.optim.Optimizer]) -> bool:
    """True if the figures and the gradients are."""
    gradients = [value.grad for value in _parameters(optimisers) if value.grad is not None]
    numbers = [gradient._values() if gradient.is_sparse else gradient for gradient in gradients]
    numbers += [tensor for part in added for tensor in part.tensors()]
    figures = all(math.isfinite(figure) for part in added for figure in part.figures.values())
    return figures and (not numbers or bool(torch.stack([one.isfinite().all() for one in numbers]).all()))


def _parameters(optimisers: Iterable[torch.optim.Optimizer]) -> list[Tensor]:
    return [value for optimiser in optimisers for group in optimiser.param_groups for value in group["params"]]


def _tables(optimisers: Iterable[torch.optim.Optimizer]) -> list[Tensor]:
    """Parameters with a row for each particle, whose gradient has those of an update's particles."""
    return _parameters(one for one in optimisers if isinstance(one, torch.optim.SparseAdam))
