"""A few of the user's own particles, on which everything is done that a run does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dynaflex.prepare.inputs import Inputs


def miniature(inputs: Inputs, images: int) -> Inputs:
    """The same inputs with so many particles of each half at most, those held out in proportion, evenly from the table,
    and all images of each."""
    particles = inputs.particles
    chosen = []
    for half in (1, 2):
        mine = inputs.members(half)
        share = min(1.0, images / max(len(np.unique(particles.particle[mine])), 1))
        for some in (mine & inputs.held_out, mine & ~inputs.held_out):
            there = np.unique(particles.particle[some])
            count = min(len(there), round(share * len(there)))
            chosen.append(there[np.arange(count) * len(there) // max(count, 1)])
    index = np.flatnonzero(np.isin(particles.particle, np.concatenate(chosen)))
    return replace(inputs, particles=particles.take(index), held_out=inputs.held_out[index])
