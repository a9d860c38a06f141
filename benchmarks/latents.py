"""Encoder or table: which finds the conformations better, on the same particles and with the same number of updates?

    python benchmarks/latents.py [--particles 2000] [--steps 3000]

Prints one JSON line for each choice: k-nearest-neighbour R² of the latents as training left them (before the final
search), the same for particles held out of training as the encoder reads them, the variance of the arm's true motion
explained, and the CPU time of one half.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.neighbors import KNeighborsRegressor

from dynaflex.kernels import native
from dynaflex.latents.encoder import Encoder
from dynaflex.methods.dynamight.build import build_model, prepare_consensus
from dynaflex.methods.dynamight.config import DynamightConfig
from dynaflex.methods.dynamight.train import HalfTrainer
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.inputs import InputPaths, read_inputs
from dynaflex.shapes import Tensor
from dynaflex.simulation.molecule import ARM
from dynaflex.simulation.particles import simulate
from dynaflex.simulation.truth import truth_displacement
from dynaflex.validate.score import knn_r2, variance_explained

CPU = torch.device("cpu")


def main() -> None:
    """Train half 1 with both, from the same inputs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--particles", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    native.set_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch)
        truth = simulate(data, particles=options.particles, seed=1)
        paths = InputPaths(data / "particles.star", data / "consensus.mrc", data / "mask.mrc")
        for latents in ("encoder", "table"):
            config = DynamightConfig(latents=latents, steps=options.steps)
            inputs = read_inputs(paths, config)
            members = inputs.particles.take(inputs.particles.half == 1)
            outside = inputs.held_out[inputs.particles.half == 1]
            training, held_out = (torch.from_numpy(np.flatnonzero(where)) for where in (~outside, outside))
            halves = HalfSet(members, 1, inputs.imaging, CPU)
            consensus = prepare_consensus(inputs, 1, config)
            model = build_model(consensus, len(members), 1, inputs.imaging.grid, config, None)
            trainer = HalfTrainer(model, halves, training, config, matter=consensus.matter)
            started, updates = time.process_time(), 0
            while not trainer.finished:
                updates += len(training) // config.batch_size + 1 if trainer.phase() == "joint" else 0
                trainer.run_epoch(lambda _figures: None)
            seconds = time.process_time() - started
            seen = means(trainer, training)
            angle = truth.coordinate[members.rows]
            sample = np.arange(0, len(training), 4)
            with torch.no_grad():
                moved = model.deformation.displacement(seen[sample], torch.from_numpy(truth.points).float()).numpy()
            arm = truth.domain == ARM
            true = truth_displacement(truth, members.rows[training[sample].numpy()], truth.points)
            unseen = None
            if isinstance(model.latents, Encoder):
                known = KNeighborsRegressor(20).fit(seen.numpy(), angle[training.numpy()])
                unseen = float(known.score(means(trainer, held_out).numpy(), angle[held_out.numpy()]))
            figures = {
                "benchmark": "latents",
                "latents": latents,
                "updates": updates,
                "knn_r2": float(knn_r2(seen.numpy(), angle[training.numpy()])[0]),
                "knn_r2_unseen_images": unseen,
                "arm_variance_explained": variance_explained(moved[:, arm], true[:, arm]),
                "cpu_s": seconds,
            }
            print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}), flush=True)


@torch.no_grad()
def means(trainer: HalfTrainer, index: Tensor) -> Tensor:
    """Posterior means of some particles as the trained latents give them."""
    parts = [trainer.model.latents.posterior(trainer.data.batch(part)).mean for part in index.split(256)]
    return torch.cat(parts)


if __name__ == "__main__":
    main()
