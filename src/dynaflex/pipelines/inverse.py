"""Learning the inverse deformation of a trained half, for those who want the paper's backprojection."""

from __future__ import annotations

import torch

from dynaflex.deformation.inverse import InverseDeformation, inverse_loss
from dynaflex.losses.graph import neighbour_graph
from dynaflex.pipelines.half import keyed_generator
from dynaflex.pipelines.predict import TrainedHalf
from dynaflex.pipelines.progress import Monitor
from dynaflex.pipelines.run import Run

STEPS = 2000
_BATCH = 8
_RATE = 2e-3


def learn_inverse(run: Run, trained: TrainedHalf, seed: int, monitor: Monitor) -> InverseDeformation:
    """Train the inverse network on the half's own displacements, or load it from the run."""
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
        monitor.update(f"inverse half {trained.half}", step + 1, STEPS, f"{float(loss.detach()) ** 0.5:.2f} Å")
    run.save_checkpoint(f"inverse{trained.half}", STEPS, inverse.state_dict(), {"half": trained.half})
    return inverse
