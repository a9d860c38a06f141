"""Whether a nat is a nat: what free coordinates gain from noise, and whether latents err as much as they are said to.

    python benchmarks/nats.py [--particles 1000] [--box 128]

One JSON line for each box and circle, colour of the noise and training box. A molecule is imaged at rest, in noise, and
three free coordinates of its motion are searched for as 3DFlex does: each should gain 0.50 nats, and scatter by 1.00 of
its scale. Then it swings: (latent - truth) / scale should have a standard deviation of 1.00 too.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path

import torch

# The molecule, its simulation and the search are those of the tests.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from dynaflex.grid import Grid
from dynaflex.latents.prior import GAUSSIAN, LatentPrior
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.images import Imaging
from dynaflex.shapes import Tensor
from swinging import CPU, Ball, Noise, coloured, search, white

BOXES_AND_CIRCLES = ((192.0, 120.0), (192.0, 150.0), (256.0, 120.0), (256.0, 190.0), (300.0, 110.0))
FREE = LatentPrior(1e-4, 2.0)
AXES = 3


def main() -> None:
    """Measure every combination."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--particles", type=int, default=1000)
    parser.add_argument("--box", type=int, default=128)
    options = parser.parse_args()
    random = torch.Generator().manual_seed(1)
    still, swinging = torch.zeros(options.particles, AXES), torch.randn(options.particles, AXES, generator=random)
    for width, diameter in BOXES_AND_CIRCLES:
        grid = Grid(options.box, width / options.box)
        for noise in (white, coloured):
            for train_box in (32, 64, options.box):
                found = measured(grid, diameter, train_box, noise, still, FREE)
                swung = measured(grid, diameter, train_box, noise, swinging, GAUSSIAN)
                print(json.dumps({
                    "width": width, "circle": diameter, "noise": noise.__name__, "train_box": train_box,
                    "nats_per_free_coordinate": found["gain"], "scatter_at_rest": found["scatter"],
                    "scatter": swung["scatter"],
                }), flush=True)  # fmt: skip


def measured(
    grid: Grid, diameter: float, train_box: int, noise: Noise, truth: Tensor, prior: LatentPrior
) -> dict[str, float]:
    """Nats gained by each coordinate, and the standard deviation of errors over scales."""
    ball = Ball.of(0.35 * diameter, math.radians(5.0))
    edge = min(20.0, 0.5 * (grid.width - diameter))
    with tempfile.TemporaryDirectory() as folder:
        particles = ball.images(Path(folder), grid, truth, 0.1, noise)
        data = HalfSet(particles, 0, Imaging(grid.cropped(train_box), diameter, edge), CPU)
    found = search(data, ball.model(data.grid, AXES), prior, AXES)
    errors = (found.latents.mean - truth) / found.latents.log_scale.exp()
    return {"gain": round(float(found.gain.mean()) / AXES, 3), "scatter": round(float(errors.std()), 3)}


if __name__ == "__main__":
    main()
