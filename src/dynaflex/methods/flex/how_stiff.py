"""How stiff a molecule is, as images tell that nothing was learned from.

No strength of the rigidity is right for every molecule: one that closes over a gap strains much of its mesh, one that
is rigid should strain nothing, and how much noise is followed meanwhile depends on how many images there are and how
good they are. So a few strengths are tried now and then, each by some updates from where the training stands, and
the evidence of the particles held out chooses. What was tried is forgotten but for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dynaflex.shapes import Tensor

FIRST = 0.55
"""The rigidity to begin with, in nats per nm³ and unit of squared strain: see ADR 0017."""
FACTOR = 4.0
"""From one strength to the next: half as much strain, roughly."""
WALK = 3
"""Strengths at most, each a factor from the one before, that are tried in one direction at a time."""
UPDATES = 24
"""By which a strength shows what it does."""
FEWEST = 20
"""Particles held out without which nothing can be told."""
_SITTINGS = (0.25, 0.45, 0.65)
"""The shares of the epochs after which strengths are tried: the map is there, and there is time to make use of it."""
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


def walk(present: float, evidence: Callable[[float], Tensor]) -> tuple[float, list[Tried]]:
    """The rigidity to go on with, and all that were tried: stiffer and softer ones, as long as that pays.

    ``evidence(rigidity)`` is the logarithm ``(p)`` of the likelihood of particles that were held out. Of strengths that
    agree within one standard error the stiffest is chosen.
    """
    found = {present: evidence(present)}
    for factor in (FACTOR, 1.0 / FACTOR):
        here = present
        for _ in range(WALK):
            found[here * factor] = evidence(here * factor)
            if stiffest({one: found[one] for one in (here, here * factor)}) == here:
                break
            here *= factor
    return stiffest(found), [Tried(one, *_gain(found[one], found[present])) for one in sorted(found, reverse=True)]


def stiffest(evidence: dict[float, Tensor]) -> float:
    """Of rigidities, each with the evidence ``(p)`` of the same particles, the largest that is not surely worse than
    the best: by less than one standard error of the difference."""
    known = {one: values for one, values in evidence.items() if bool(values.isfinite().all())}
    if not known:
        return max(evidence)
    best = known[max(known, key=lambda one: float(known[one].mean()))]
    for one in sorted(known, reverse=True):
        gain, error = _gain(best, known[one])
        if gain <= error:
            return one
    raise AssertionError("the best is as good as itself")


def _gain(one: Tensor, other: Tensor) -> tuple[float, float]:
    difference = (one - other).double()
    return float(difference.mean()), float(difference.std() / len(difference) ** 0.5)
