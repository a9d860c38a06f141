"""When DynaMight trains what, in shares of a training however many epochs it has."""

from __future__ import annotations

from dataclasses import dataclass

from dynaflex.methods.dynamight.config import DynamightConfig

_FEWEST_RISES = 5
"""Fewer are chance."""
LONG = 100
"""The settings of the schedule are epochs of a training this long, or longer."""


@dataclass(frozen=True)
class Schedule:
    """The parts of a training of so many ``epochs``.

    The paper counts epochs. A large data set needs few of them for as many updates, and what happens in the thirtieth
    would never happen: in a training of fewer than 100 epochs every part is as much shorter. None vanishes.
    """

    config: DynamightConfig
    epochs: int

    def phase(self, epoch: int) -> str:
        """What ``epoch``, counted from 0, trains: ``warm-up`` and ``gaussians`` leave the networks alone."""
        warm_up = self._epochs(self.config.warm_up_epochs)
        if epoch < warm_up:
            return "warm-up"
        every, refreshed = self._epochs(self.config.refresh_every), self._epochs(self.config.refresh_epochs)
        position = (epoch - warm_up) % (every + refreshed)
        # The networks have the last word: no refresh that joint epochs could not follow up.
        left = self.epochs - epoch - (every + refreshed - position)
        return "gaussians" if position >= every and left >= refreshed else "joint"

    def replaces(self, joint: int, done: int) -> bool:
        """Whether the reference is replaced after ``done`` epochs, so many of them ``joint``; not near the end, where
        the Gaussians are left to settle."""
        every = self._epochs(self.config.replace_every)
        return joint % every == 0 and done < self.epochs - every

    @property
    def patience(self) -> int:
        """After so many rises of the loss, from one joint epoch to the next, the training ends."""
        return max(min(self.config.patience, _FEWEST_RISES), self._epochs(self.config.patience))

    def _epochs(self, of_a_long_one: int) -> int:
        share = min(self.epochs / LONG, 1.0)
        return max(1, round(of_a_long_one * share)) if of_a_long_one else 0
