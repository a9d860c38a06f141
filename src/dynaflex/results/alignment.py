"""Bringing the halves to one conformation before their maps are compared: each to the mean of its own particles."""

from __future__ import annotations

import torch

from dynaflex.results.trained import ALIGNMENT, TrainedHalf, config_of, load_half
from dynaflex.run.directory import Run
from dynaflex.shapes import Tensor

_PARTICLES, _POINTS = 4000, 1000
"""As many particles and landmarks make the mean: the rest would change it by less than their own spread over √4000."""
_AT_ONCE = 64
_STEPS = 100


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


def mean_conformation(half: TrainedHalf) -> Tensor:
    """The latents ``(k)`` of the conformation nearest to the mean of all particles of a half, over its landmarks."""
    landmarks = half.model.density.landmarks().detach()
    moves = half.model.deformation.at(landmarks[:: -(-len(landmarks) // _POINTS)])
    latents = half.latents.mean[:: -(-len(half.latents.mean) // _PARTICLES)]
    with torch.no_grad():
        mean = torch.stack([moves(part).double().sum(dim=0) for part in latents.split(_AT_ONCE)]).sum(dim=0)
        mean = (mean / len(latents)).float()
    found = latents.mean(dim=0).clone().requires_grad_()
    search = torch.optim.LBFGS([found], max_iter=_STEPS, tolerance_change=1e-7, line_search_fn="strong_wolfe")

    def distance() -> Tensor:
        search.zero_grad()
        away = (moves(found[None])[0] - mean).square().sum(dim=1).mean()
        away.backward()
        return away

    search.step(distance)
    return found.detach()
