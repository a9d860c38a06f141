"""Bringing the halves to one conformation before their maps are compared: each to the mean of its own particles."""

from __future__ import annotations

from dynaflex.results.trained import ALIGNMENT, TrainedHalf, config_of, load_half
from dynaflex.run.directory import Run
from dynaflex.shapes import Tensor

_PARTICLES, _POINTS = 4000, 1000
"""As many particles and landmarks make the mean: the rest would change it by less than their own spread over √4000."""


def rest_at_the_mean(run: Run) -> None:
    """Let each half rest where its particles are on the average, and store in the run which conformation that is.

    Every half is free to choose its conformation at z = 0; maps of different ones would disagree where they are right.
    Both halves have particles of one population, so their means differ by no more than the spread of the motion over
    the root of their number, and nothing has to cross from one to the other. Nothing is done for one shared model.
    """
    if config_of(run).half_sets == "shared" or run.files.has(ALIGNMENT):
        return
    halves = (load_half(run, number) for number in (1, 2))
    run.write_json(ALIGNMENT, {f"half{half.half}": mean_conformation(half).tolist() for half in halves})


def mean_conformation(half: TrainedHalf, latents: Tensor | None = None) -> Tensor:
    """The latents ``(k)`` of the conformation in the middle of all particles of a half, or of some of its model with
    ``latents`` ``(p k)``, over its landmarks."""
    landmarks = half.model.density.landmarks().detach()
    everyone = half.latents.mean if latents is None else latents
    some = everyone[:: -(-len(everyone) // _PARTICLES)]
    return half.model.deformation.middle(some, landmarks[:: -(-len(landmarks) // _POINTS)])
