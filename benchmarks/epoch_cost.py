"""What one training step costs per image, at the settings of the original program: 10,000 Gaussians, box 128, batch 16.

Folded, the original's decoder has an input layer, 7 hidden layers of 32 units and an output layer: nine linear layers.
Its cost on one core, measured once with its own code, is 27 to 31 ms per image. This script measures ours, and beside
it in the same process a baseline that anyone can run: the same step with the plain torch kernels.

    python benchmarks/epoch_cost.py [--threads 1] [--gaussians 10000] [--box 128]

Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import time

import torch

from dynaflex import fourier
from dynaflex.deformation.coordinate_mlp import CoordinateMLP
from dynaflex.deformation.lattice import OnLattice
from dynaflex.density.gaussians import GaussianDensity
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.noise import noise_weights
from dynaflex.imaging.pose import Pose
from dynaflex.kernels import native
from dynaflex.latents.table import LatentTable
from dynaflex.losses.data import data_loss
from dynaflex.losses.graph import neighbour_graph
from dynaflex.methods.dynamight.balance import geometry_loss
from dynaflex.methods.dynamight.config import DynamightConfig
from dynaflex.methods.dynamight.rates import optimisers_of
from dynaflex.model import FlexModel
from dynaflex.rotations import random_rotations

ORIGINAL_MS = (27.0, 31.0)


def main() -> None:
    """Time the step in both ways, alternating, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gaussians", type=int, default=10_000)
    parser.add_argument("--box", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--layers", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    native.set_threads(options.threads)
    step = make_step(options)
    figures: dict[str, list[float]] = {"native": [], "reference": []}
    for round_number in range(options.rounds + 1):
        for backend, times in figures.items():
            os.environ["DYNAFLEX_KERNELS"] = backend
            started = time.process_time()
            step()
            if round_number > 0:
                times.append(1e3 * (time.process_time() - started) / options.batch)
    medians = {name: sorted(times)[len(times) // 2] for name, times in figures.items()}
    print(
        json.dumps(
            {
                "benchmark": "epoch_cost",
                "threads": options.threads,
                "gaussians": options.gaussians,
                "box": options.box,
                "batch": options.batch,
                "linear_layers": options.layers,
                "cpu_ms_per_image": round(medians["native"], 2),
                "cpu_ms_per_image_plain_torch": round(medians["reference"], 2),
                "original_ms_per_image": ORIGINAL_MS,
                "fraction_of_original": [round(medians["native"] / ms, 3) for ms in ORIGINAL_MS],
                "fraction_of_plain_torch": round(medians["native"] / medians["reference"], 3),
            }
        )
    )


def make_step(options: argparse.Namespace) -> object:
    """One update of everything, as in training: decoder, latents, Gaussians, geometry, images."""
    generator = torch.Generator().manual_seed(0)
    grid = Grid(options.box, 1.5)
    points = torch.randn(options.gaussians, 3, generator=generator) * 0.15 * grid.width
    density = GaussianDensity(points, torch.ones(1), torch.tensor([6.0]))
    decoder = CoordinateMLP(6, grid.width, layers=options.layers, generator=generator)
    deformation = OnLattice(decoder, DynamightConfig().node_spacing)
    model = FlexModel(density, deformation, LatentTable(options.batch, 6, generator), grid)
    optimisers = optimisers_of(model, None, DynamightConfig())
    for optimiser in optimisers.values():
        for group in optimiser.param_groups:
            group["lr"] = 1e-4
    images = torch.randn(options.batch, grid.box, grid.box, generator=generator)
    batch = Batch(
        index=torch.arange(options.batch),
        read=lambda: fourier.transform(images, 2),
        pose=Pose(random_rotations(options.batch, generator).float(), torch.zeros(options.batch, 2)),
        ctf=torch.randn(options.batch, grid.box, grid.box // 2 + 1, generator=generator),
        noise=torch.randn(options.batch, 6, generator=generator),
    )
    graph = neighbour_graph(points)
    weights = noise_weights(torch.ones(grid.n_shells), grid)

    def step() -> None:
        for optimiser in optimisers.values():
            optimiser.zero_grad()
        posterior = model.latents.posterior(batch)
        deformed = model.deformed(posterior.sample(batch.noise))
        data = data_loss(model.render(deformed, batch.pose, batch.ctf), batch.coefficients, weights).mean()
        prior = geometry_loss(deformed, graph, bonded=False).mean() + posterior.divergence().mean()
        (data + prior).backward()
        for optimiser in optimisers.values():
            optimiser.step()

    return step


if __name__ == "__main__":
    main()
