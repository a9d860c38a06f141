"""Learning the inverse deformation of a trained half, for those who want the paper's backprojection."""

from __future__ import annotations

import torch

from dynaflex import tell
from dynaflex.deformation.inverse import InverseDeformation, inverse_loss
from dynaflex.errors import NumericalError
from dynaflex.losses.graph import neighbour_graph
from dynaflex.prepare.half import keyed_generator
from dynaflex.results.trained import TrainedHalf
from dynaflex.run.directory import Run

STEPS = 2000
LARGEST_MISS = 0.5
"""Å by which the inverse may miss the point it should lead back to, in the median over what moves by twice as much."""
_LOOKED_AT = 50
_BATCH = 8
_RATE = 2e-3


def learn_inverse(run: Run, trained: TrainedHalf, seed: int) -> InverseDeformation:
    """Train the inverse network on the half's own displacements, or load it from the run.

    Raises:
        NumericalError: it does not undo them.
    """
    model = trained.model
    points = model.density.points().detach()
    generator = keyed_generator(seed, trained.half, 4)
    inverse = InverseDeformation(trained.latents.mean.shape[1], model.grid.width, generator).to(points.device)
    stored = run.load_checkpoint(f"inverse{trained.half}")
    if stored is not None:
        inverse.load_state_dict(stored[0])
        return inverse
    edges = neighbour_graph(points).edges
    optimiser = torch.optim.Adam(inverse.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS, eta_min=0.02 * _RATE)
    for step in range(STEPS):
        chosen = torch.randint(len(trained.latents.mean), (_BATCH,), generator=generator)
        latents = trained.latents.mean[chosen].to(points.device)
        with torch.no_grad():
            deformed = model.deformed(latents)
        optimiser.zero_grad()
        loss = inverse_loss(inverse, latents, deformed, points, edges)
        loss.backward()
        optimiser.step()
        schedule.step()
        tell.progress(f"inverse of half {trained.half}", step + 1, STEPS, f"{float(loss.detach()) ** 0.5:.2f} Å")
    _require_round_trip(inverse, trained)
    run.save_checkpoint(f"inverse{trained.half}", STEPS, inverse.state_dict(), {"half": trained.half})
    return inverse


@torch.no_grad()
def _require_round_trip(inverse: InverseDeformation, trained: TrainedHalf) -> None:
    points = trained.model.density.points()
    latents = trained.latents.mean[:: max(1, len(trained.latents.mean) // _LOOKED_AT)].to(points.device)
    deformed = trained.model.deformed(latents)
    missed = (inverse.origins(latents, deformed) - points).norm(dim=2)
    moving = (deformed - points).norm(dim=2) > 2.0 * LARGEST_MISS
    if bool(moving.any()) and float(missed[moving].median()) > LARGEST_MISS:
        raise NumericalError(
            "inverse.inexact",
            f"the learned inverse of half {trained.half} does not lead back to where points came from",
            expected=f"a median distance of at most {LARGEST_MISS:g} Å",
            found=f"{float(missed[moving].median()):.2f} Å",
            fix="--field decoder, the default, needs no inverse",
        )
