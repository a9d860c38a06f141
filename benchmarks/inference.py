"""Gauss-Newton, coordinate descent, or one after the other: what does finding a particle's latents cost?

    python benchmarks/inference.py [--motion two-hinge] [--particles 300] [--correlation 0]

The model is fixed, and as good as a trained one can be: the true map on a regular mesh, and a flow generator fitted to
the true motion. Learned latents need not lie along the motions: with ``--correlation`` the second is mixed with the
first. Prints one JSON line. For each start (all latents zero; the truth with an error of 0.3, as between epochs) and
each method: after 1, 2, ... iterations or sweeps the renderings so far, the mean energy in nats above the best that any
of them found in 10, and the CPU milliseconds per image; and the renderings to come within 0.1 nat.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dynaflex import fourier
from dynaflex.deformation.mesh_flow import MeshFlow
from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.noise import noise_weights
from dynaflex.inference.descent import descend
from dynaflex.inference.energy import energy_of
from dynaflex.inference.newton import infer
from dynaflex.kernels import native
from dynaflex.latents.table import LatentTable
from dynaflex.methods.flex.carrier import make_carrier
from dynaflex.methods.flex.config import FlexConfig
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet, keyed_generator
from dynaflex.prepare.inputs import InputPaths, Inputs, read_inputs
from dynaflex.shapes import Tensor
from dynaflex.simulation.particles import simulate
from dynaflex.simulation.truth import Truth, true_volume, truth_displacement

CPU = torch.device("cpu")
AT_ONCE = 64
LADDER = (0.5, 0.2, 0.1, *[0.05] * 7)
SHOWN = 6
CLOSE = 0.1

Search = Callable[[FlexModel, Batch, Tensor, Tensor, int], Tensor]


def newton(model: FlexModel, batch: Batch, weights: Tensor, start: Tensor, n: int) -> Tensor:
    """n iterations of Gauss-Newton."""
    return infer(model, batch, weights, start, n).mean


def descent(model: FlexModel, batch: Batch, weights: Tensor, start: Tensor, n: int) -> Tensor:
    """n sweeps over narrowing ladders."""
    return descend(model, batch, weights, start, LADDER[:n]).mean


def descent_then_newton(model: FlexModel, batch: Batch, weights: Tensor, start: Tensor, n: int) -> Tensor:
    """One wide sweep to come near, then n - 1 iterations of Gauss-Newton."""
    return newton(model, batch, weights, descent(model, batch, weights, start, 1), n - 1)


SEARCHES: tuple[Search, ...] = (newton, descent, descent_then_newton)


class CountingModel(FlexModel):
    """Counts how often a batch is rendered."""

    renderings = 0

    def render(self, *arguments: object) -> Tensor:
        """One more rendering."""
        self.renderings += 1
        return super().render(*arguments)  # type: ignore[arg-type]


def main() -> None:
    """Fit the flow to the truth, then search from both starts with every method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--motion", default="two-hinge", choices=("hinge", "two-hinge", "twist"))
    parser.add_argument("--particles", type=int, default=300)
    parser.add_argument("--correlation", type=float, default=0.0, help="of the second latent with the first")
    options = parser.parse_args()
    torch.set_num_threads(1)
    native.set_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch)
        truth = simulate(data, particles=options.particles, motion=options.motion, seed=1)
        inputs = read_inputs(
            InputPaths(data / "particles.star", data / "consensus.mrc", data / "mask.mrc"), FlexConfig()
        )
        coordinate = truth.coordinate[inputs.particles.rows]
        latents = torch.from_numpy(coordinate / coordinate.std(axis=0)).float()
        if latents.shape[1] > 1:
            aligned = math.sqrt(1.0 - options.correlation**2)
            latents[:, 1] = aligned * latents[:, 1] + options.correlation * latents[:, 0]
        model = fitted_model(inputs, truth, latents)
        particles = HalfSet(inputs.particles, 0, inputs.imaging, CPU)
        index = torch.arange(len(latents))
        batches = [particles.batch(part) for part in index.split(AT_ONCE)]
        weights = noise_weights(torch.ones(particles.grid.n_shells), particles.grid)
        error = 0.3 * torch.randn(latents.shape, generator=keyed_generator(2))
        starts = {"zero": torch.zeros_like(latents), "near": latents + error}
        figures = {name: compared(model, batches, weights, start) for name, start in starts.items()}
    print(json.dumps({
        "benchmark": "inference", "motion": options.motion, "particles": options.particles, "k": latents.shape[1],
        "correlation": options.correlation,
        "box": particles.grid.box, "start": figures,
    }))  # fmt: skip


def fitted_model(inputs: Inputs, truth: Truth, latents: Tensor, steps: int = 1500) -> CountingModel:
    """The true map on the default mesh, and a flow that moves its vertices as the nearest atoms truly move."""
    grid, labelled = inputs.imaging.grid, make_carrier(inputs, FlexConfig())
    mesh = labelled.mesh
    volume = true_volume(truth, np.zeros(latents.shape[1]), inputs.full_imaging.grid)
    density = CanonicalMap(fourier.resize(volume, grid.box, 3), grid, mesh, labelled.carrier(grid))
    flow = MeshFlow(
        mesh, latents.shape[1], grid.points()[density.voxels], density.cell, grid.pixel_size,
        generator=keyed_generator(1),
    )  # fmt: skip
    vertices = mesh.vertices.double().numpy()
    target = torch.from_numpy(truth_displacement(truth, inputs.particles.rows, vertices)).float()
    optimiser = torch.optim.Adam(flow.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    generator = keyed_generator(3)
    for _ in range(steps):
        some = torch.randint(len(latents), (AT_ONCE,), generator=generator)
        optimiser.zero_grad()
        (flow.vertex_displacement(latents[some]) - target[some]).square().mean().backward()
        optimiser.step()
        schedule.step()
    table = LatentTable(len(latents), latents.shape[1], generator)
    return CountingModel(density, flow, table, grid).requires_grad_(False)


def compared(model: CountingModel, batches: list[Batch], weights: Tensor, start: Tensor) -> dict[str, object]:
    """All methods from one start, after 1, 2, ... and after 10 iterations or sweeps."""
    runs: dict[str, list[tuple[float, float, Tensor]]] = {}
    for search in SEARCHES:
        runs[search.__name__] = []
        for n in (*range(1, SHOWN + 1), len(LADDER)):
            model.renderings, started = 0, time.process_time()
            found = [search(model, batch, weights, start[batch.index], n) for batch in batches]
            seconds, renderings = time.process_time() - started, model.renderings / len(batches)
            energy = torch.cat([
                energy_of(model, batch, weights, z) for batch, z in zip(batches, found, strict=True)
            ])  # fmt: skip
            runs[search.__name__].append((renderings, 1e3 * seconds / len(start), energy))
    best = torch.stack([energy for run in runs.values() for *_, energy in run]).amin(dim=0)
    return {name: summary(run, best) for name, run in runs.items()}


def summary(run: list[tuple[float, float, Tensor]], best: Tensor) -> dict[str, object]:
    """Renderings, mean energy gap and cost of a run, and when it first came close."""
    gaps = [float((energy - best).mean()) for *_, energy in run]
    close = [renderings for (renderings, *_), gap in zip(run, gaps, strict=True) if gap < CLOSE]
    return {
        "renderings": [int(renderings) for renderings, *_ in run[:SHOWN]],
        "energy_gap": [round(gap, 4) for gap in gaps[:SHOWN]],
        "cpu_ms_per_image": [round(cost, 2) for _, cost, _ in run[:SHOWN]],
        "renderings_to_0.1_nat": int(close[0]) if close else None,
    }


if __name__ == "__main__":
    main()
