"""How long a training goes on: as long as images that nothing was learned from become likelier.

How many updates a motion needs depends on how large it is, how noisy the images are, and how late it was found how
stiff the molecule is. A plan cannot know: so when it ends, the evidence of the particles held out is compared with
that a stretch earlier, particle by particle, and as long as it has surely risen there is one stretch more.
"""

from __future__ import annotations

from dynaflex.shapes import Tensor
from dynaflex.validate.controls import gain

MOST = 6
"""Stretches after the plan, however much they gain: two and a half times the plan in all."""
_PART = 4
"""The last part of the plan trains with the whole band, and is long enough to tell by."""
_SURE = 2.0
"""Standard errors by which the evidence must have risen. To go on for nothing costs time; to end early costs motion."""


def stretch(epochs: int) -> int:
    """How many epochs, of ``epochs`` planned, are judged together; even, as map and flow take turns."""
    return max(2, 2 * round(epochs / _PART / 2.0))


def still_gains(before: Tensor, now: Tensor) -> bool:
    """True if the log-evidence ``(p)`` of the same particles has surely risen."""
    gained, error = gain(now, before)
    return gained > _SURE * error
