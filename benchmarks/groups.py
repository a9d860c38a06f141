"""What is made of two optics groups whose noise differs: one JSON line per method, kind of noise and half.

    python benchmarks/groups.py [--methods flex dynamight] [--noises level colour]

A hinge of 1,600 particles, box 32 at 6 Å; half of the images have SNR 0.1, and the others four times their noise:
`level` at every frequency, `colour` below a third of Nyquist only. Judged by the truth.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from judge import dynaflex, show, trained

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.io.mrc import ImageStack, write_stack
from dynaflex.io.star import StarFile, read_star, write_star
from dynaflex.judge import scoring
from dynaflex.judge.scene import Judge, SimulatedScene
from dynaflex.shapes import Tensor

BOX, PIXEL_SIZE, PARTICLES, SNR, TIMES = 32, 6.0, 1600, 0.1, 4.0
EPOCHS = {"flex": 12, "dynamight": 25}
LOW = 1.0 / 3.0
"""The share of the shells that the noise of the second group is stronger in, if it is coloured."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--methods", nargs="+", choices=list(EPOCHS), default=list(EPOCHS))
    options.add_argument("--noises", nargs="+", choices=["level", "colour"], default=["level", "colour"])
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.out or Path(scratch)
        for noise in given.noises:
            data = simulated(folder / noise, noise)
            for method in given.methods:
                run = folder / f"{method}-{noise}"
                trained(method, data, run, "--epochs", EPOCHS[method])
                for half in (1, 2):
                    show({"benchmark": "groups", "method": method, "noise": noise, **figures(run, data, half)})


def simulated(out: Path, noise: str) -> Path:
    """The hinge, its images in two groups."""
    size = ("--particles", PARTICLES, "--box", BOX, "--pixel-size", PIXEL_SIZE)
    dynaflex("simulate", out, "--motion", "hinge", "--snr", "inf", *size)
    stack = out / "particles.mrcs"
    signal = torch.from_numpy(ImageStack.open(stack).read(np.arange(PARTICLES)))
    random = torch.Generator().manual_seed(0)
    noisier = torch.rand(PARTICLES, generator=random) < 0.5
    drawn = torch.randn(signal.shape, generator=random)
    stronger = drawn * math.sqrt(TIMES) if noise == "level" else coloured(drawn)
    images = signal * math.sqrt(SNR / float(signal.var())) + torch.where(noisier[:, None, None], stronger, drawn)
    write_stack(stack, images.numpy(), PIXEL_SIZE)
    star = read_star(out / "particles.star")
    optics, particles = star.blocks["optics"], star.blocks["particles"]
    both = optics.loc[[0, 0]].reset_index(drop=True)
    both["rlnOpticsGroup"], both["rlnOpticsGroupName"] = ["1", "2"], ["opticsGroup1", "opticsGroup2"]
    particles["rlnOpticsGroup"] = np.where(noisier.numpy(), "2", "1")
    write_star(StarFile(out / "particles.star", {"optics": both, "particles": particles}), out / "particles.star")
    return out


def coloured(noise: Tensor) -> Tensor:
    """White ``noise`` with more power at low frequencies."""
    grid = Grid(BOX, PIXEL_SIZE)
    power = torch.where(torch.arange(grid.n_shells) < LOW * grid.n_shells, TIMES, 1.0)
    return fourier.inverse_transform(fourier.transform(noise, 2) * fourier.spread_shells(power.sqrt(), grid, 2), 2)


def figures(run: Path, data: Path, half: int) -> dict[str, object]:
    """How much of the motion is explained, and how well the maps agree with the truth."""
    scene = SimulatedScene.read(data / "truth.npz")
    maps = scoring.half_maps(run, half)
    matched = Judge(scene).state(maps["corrected"])
    scores = scoring.latent_scores(run, scene, half) | scoring.motion_scores(run, scene, half, matched)
    return {"half": half, **scores, **scoring.map_scores(scene, maps)}


if __name__ == "__main__":
    main()
