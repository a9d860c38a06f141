"""The same region in both halves: what a selection of one half lacks to be refined."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from dynaflex.errors import UsageError
from dynaflex.shapes import BoolArray
from dynaflex.viewer.answers.stage import Stage


def with_counterparts(stage: Stage, chosen: BoolArray) -> BoolArray:
    """The particles ``chosen`` ``(N)``, all of one half, and those of the other half in the same region.

    That are those whose nearest neighbour in the first half, by their motion, was chosen.

    Raises:
        UsageError: they are not of one half, or the motion of the particles is not known yet.
    """
    half, motion = stage.particles.half, stage.motion
    halves = np.unique(half[chosen])
    if len(halves) != 1:
        raise UsageError("view.counterparts", "a selection of one half is needed", found=f"of {len(halves)} halves")
    if motion is None or motion.awaited() < 1.0:
        raise UsageError(
            "view.motion-unknown", "it is not known yet how each particle moves", fix="wait until all have been placed"
        )
    own, other = (half == halves[0]), (half != halves[0])
    nearest = cKDTree(motion.values[own]).query(motion.values[other])[1]
    found = chosen.copy()
    found[other] = chosen[own][nearest]
    return found
