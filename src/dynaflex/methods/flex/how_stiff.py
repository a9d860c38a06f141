"""How stiff a molecule is, as images tell that nothing was learned from.

No strength of the rigidity is right for every molecule: one that closes over a gap strains much of its mesh, one that
is rigid should strain nothing, and how much noise is followed meanwhile depends on how many images there are and how
good they are. So a few strengths are tried now and then, each by some updates from where the training stands, and
the evidence of the particles held out chooses. What was tried is forgotten but for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dynaflex.shapes import Tensor
from dynaflex.validate.controls import mean_and_error

FIRST = 0.55
"""The rigidity to begin with, in nats per nm³ and unit of squared strain: see ADR 0017."""
FACTOR = 4.0
"""From one strength to the next: half as much strain, roughly."""
UPDATES = 32
"""By which a strength shows what it does; fewer where all trials together would cost more than a quarter of the flow's
own updates."""
FEWEST = 20
"""Particles held out without which nothing can be told."""
_SURE = 3.0
"""Standard errors by which a softer molecule must be the likelier: softness lets noise in, which is hard to get rid of
again, and lets the flow make up for what the map still lacks."""
_SITTINGS = (0.4, 0.5, 0.6)
"""The shares of the epochs after which strengths are tried: the map is nearly there, and there is time left to make use
of what is found. Before, even a rigid molecule would surely be softer."""
_EPOCHS_OF_THE_MAP = 2


@dataclass(frozen=True)
class Tried:
    """A strength, and by how many nats a held-out particle is likelier with it than with that before, ± ``error``."""

    rigidity: float
    gain: float
    error: float


def sittings(fixed_map_epochs: int, epochs: int) -> set[int]:
    """The epochs, all of the flow, that begin with a trial. Map and flow take turns after ``fixed_map_epochs``."""
    first = fixed_map_epochs + 2 * _EPOCHS_OF_THE_MAP - 1
    due = [max(first, round(share * epochs)) for share in _SITTINGS]
    return {one + (one - first) % 2 for one in due if one + 1 < epochs}


def updates(of: int) -> int:
    """How many updates a strength is given, if the flow's own are ``of`` in all."""
    arms = 3 * len(_SITTINGS)
    return max(1, min(UPDATES, of // (4 * arms)))


def chosen(present: float, evidence: Callable[[float], Tensor]) -> tuple[float, list[Tried]]:
    """The rigidity to go on with, and what was tried: the ``present`` one, a stiffer and a softer one.

    ``evidence(rigidity)`` is the logarithm ``(p)`` of the likelihood of particles that were held out. It must surely be
    better with the softer one; the stiffer is taken where it agrees with the present one within a standard error.
    A molecule that was surely softer than at first is not made stiffer again.
    """
    before = evidence(present)
    softer = _tried(present / FACTOR, evidence(present / FACTOR), before)
    tried = [Tried(present, 0.0, 0.0), softer]
    if present >= FIRST:
        tried.insert(0, _tried(present * FACTOR, evidence(present * FACTOR), before))
    if softer.gain > _SURE * softer.error:
        return softer.rigidity, tried
    return (tried[0].rigidity if tried[0].gain >= -tried[0].error else present), tried


def _tried(rigidity: float, evidence: Tensor, before: Tensor) -> Tried:
    """A strength with which a training breaks down is as bad as can be."""
    difference = (evidence - before).double()
    if not bool(difference.isfinite().all()):
        return Tried(rigidity, -math.inf, 0.0)
    return Tried(rigidity, *mean_and_error(difference.cpu().numpy()))
