"""How stiff a molecule is, as images tell that nothing was learned from.

No strength of what holds it together is right for every molecule: one that closes over a gap strains much of what is
between, one that is rigid should strain nothing, and how much noise is followed meanwhile depends on how many images
there are and how good they are. So a few strengths are tried now and then, each by some updates from where the training
stands, and the evidence of the particles held out chooses. What was tried is forgotten but for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dynaflex import spent
from dynaflex.inference.integral import KNOWN_TO
from dynaflex.shapes import Tensor
from dynaflex.validate.controls import BEYOND_DOUBT, WORTH, gain

FIRST = 0.55
"""The rigidity to begin with, in nats per nm³ of matter and unit of squared strain: see ADR 0017."""
FACTOR = 4.0
"""From one strength to the next: half as much strain, roughly."""
FEWEST = 20
"""Particles held out without which nothing can be told."""
_SURE = 3.0
"""Standard errors by which a softer molecule must be the likelier: softness lets noise in, which is hard to get rid of
again, and lets the flow make up for what the map still lacks."""
CHANCE = 2.0
"""Standard errors by which a molecule at rest is less likely by chance alone once in forty times."""
STILL = 31.0
"""Particles times rigidity that keep still what stands still. What images do not tell moves by the noise of all that is
learned from, which falls as the root of both: 0.2 to 0.7 Å with these, see ADR 0042."""
STRENGTHS = 3
"""Tried at a sitting, at most."""
_SITTINGS = (0.4, 0.5, 0.6)
"""The shares of the epochs after which strengths are tried: the map is nearly there, and there is time left to make use
of what is found. Before, even a rigid molecule would surely be softer."""


@dataclass(frozen=True)
class Tried:
    """A strength, and by how many nats a held-out particle is likelier with it than with that before, ± ``error``.

    The ``rigidity`` of what does not move is infinite.
    """

    rigidity: float
    gain: float
    error: float

    @property
    def agrees(self) -> bool:
        """True if particles are as likely as before within a standard error, or likelier."""
        return self.gain >= -self.error

    @property
    def surely_likelier(self) -> bool:
        """True if there is no doubt that they are."""
        return self.gain > _SURE * self.error

    @property
    def as_likely(self) -> bool:
        """True if particles are as likely as before, to what evidence is known to, or likelier."""
        return self.gain >= -KNOWN_TO

    @property
    def perhaps_as_likely(self) -> bool:
        """True if it may be chance that particles are less likely, and they are by less than a motion must be worth."""
        return self.gain >= -min(math.hypot(KNOWN_TO, CHANCE * self.error), WORTH)

    @property
    def less_likely_by_a_motion(self) -> bool:
        """True if they are less likely by more than a motion must be worth, and not by chance."""
        return self.gain < -(WORTH + CHANCE * self.error)


def beyond_doubt_less_likely(gained: float, error: float) -> bool:
    """True if images are less likely by five errors of what they ``gained``, and by more than evidence is known to."""
    return gained < -max(BEYOND_DOUBT * error, KNOWN_TO)


def sittings(epochs: int, able: Callable[[int], bool]) -> set[int]:
    """The epochs, of ``epochs`` counted from 0, that begin with a trial: those that are due, or the next one that is
    ``able`` to, if another follows it."""
    due = [round(share * epochs) for share in _SITTINGS]
    found = [next(filter(able, range(first, epochs - 1)), None) for first in due]
    return {epoch for epoch in found if epoch is not None}


def updates(of: int, enough: int) -> int:
    """How many updates a strength is given, if the motion's own are ``of`` in all: ``enough`` to show what it does, and
    fewer where all trials together would cost more than a quarter of them."""
    arms = STRENGTHS * len(_SITTINGS)
    return max(1, min(enough, of // (4 * arms)))


@spent.on("stiffness")
def chosen(
    present: float, first: float, evidence: Callable[[float], Tensor], rest: Tried | None = None
) -> tuple[float, list[Tried]]:
    """The rigidity to go on with, and what was tried: the ``present`` one, a stiffer and a softer one.

    ``evidence(rigidity)`` is the logarithm ``(p)`` of the likelihood of particles that were held out. Where it is as
    likely that all is at ``rest``, the stiffest is taken; where it perhaps is as well, unless a softer one is surely
    better: a motion that has just begun is worth little yet. Else a stiffer one must surely be better too: that
    strengths agree says of what moves that images, or updates, are too few to tell them apart. Where nobody asked
    whether anything moves, the stiffer of two that agree within a standard error is taken.
    A molecule that was surely softer than with the ``first`` is not made stiffer again, unless it is at rest.
    """
    before = evidence(present)

    def trial(rigidity: float) -> Tried:
        return Tried(rigidity, *gain(evidence(rigidity), before))

    softer = trial(present / FACTOR)
    resting = rest is not None and (rest.as_likely or (rest.perhaps_as_likely and not softer.surely_likelier))
    tried = [Tried(present, 0.0, 0.0), softer]
    if resting or present >= first:
        tried.insert(0, trial(FACTOR * max(present, first)))
    stiffest = next(one for one in tried if math.isfinite(one.gain))
    if resting:
        return stiffest.rigidity, tried
    if softer.surely_likelier:
        return softer.rigidity, tried
    stands = stiffest.agrees if rest is None else stiffest.surely_likelier
    return (stiffest.rigidity if stands else present), tried


def freed(present: float, particles: int, evidence: Callable[[float], Tensor]) -> tuple[float, list[Tried]]:
    """The rigidity for a motion that images would miss, learned from so many ``particles``, and what was tried: as soft
    a one as agrees with the present, and with which so many keep still what stands still.

    Strain is paid for by every particle, however many there are, so that the strength that keeps noise out also keeps
    a true motion short. Where it is short the evidence hardly notices, for latents spread as it shrinks. ``evidence``
    is as in :func:`chosen`.
    """
    before, softest = evidence(present), STILL / particles
    tried = [Tried(present, 0.0, 0.0)]
    while len(tried) <= STRENGTHS and tried[-1].agrees and tried[-1].rigidity > softest:
        rigidity = max(tried[-1].rigidity / FACTOR, softest)
        tried.append(Tried(rigidity, *gain(evidence(rigidity), before)))
    return min(one.rigidity for one in tried if one.agrees), tried


def at_rest(moving: Tensor, resting: Tensor) -> Tried:
    """How nothing that moves compares, by the log-evidence ``(p)`` of particles held out."""
    return Tried(math.inf, *gain(resting, moving))


def told(tried: list[Tried]) -> list[list[float | None]]:
    """What was tried as the report knows it: strength, gain and error of all with which the training went on; what does
    not move has no strength."""
    return [
        [one.rigidity if math.isfinite(one.rigidity) else None, one.gain, one.error]
        for one in tried
        if math.isfinite(one.gain)
    ]
