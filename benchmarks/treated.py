"""Do images that were flipped, multiplied by their CTF or stretched train as those that were not? One JSON line each.

    python benchmarks/treated.py [--method flex]

A hinge of 800 particles, box 40 at 5 Å, SNR 0.3, through the whole pipeline. The stretch is 2 % along an oblique axis.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import mrcfile
import numpy as np
import torch
from judge import dynaflex, show, trained

from dynaflex.data.particles import read_particles
from dynaflex.imaging.ctf import transfer_function
from dynaflex.imaging.resample import straightened
from dynaflex.io.mrc import write_stack
from dynaflex.io.star import StarFile, read_star, write_star
from dynaflex.shapes import Array, Tensor

LENS = np.array([[1.010, 0.009], [0.009, 0.991]])
MATRIX = {f"rlnMagMat{i:02b}": repr(float(value)) for i, value in enumerate(LENS.flat)}
COLUMNS: dict[str, dict[str, str]] = {
    "plain": {},
    "plain, another seed": {},
    "flipped": {"rlnCtfDataArePhaseFlipped": "1"},
    "multiplied": {"rlnCtfDataAreCtfPremultiplied": "1"},
    "stretched": MATRIX,
    "stretched, not said": {},
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--method", default="flex")
    given = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "plain"
        dynaflex("simulate", plain, "--particles", 800, "--box", 40, "--pixel-size", 5, "--snr", 0.3)
        first: Path | None = None
        for kind in COLUMNS:
            data, run = Path(scratch) / kind.replace(" ", "-"), Path(scratch) / f"run-{kind.replace(' ', '-')}"
            treated(plain, data, kind)
            trained(given.method, data, run, "--epochs", 20, "--skip-check", "--seed", int("seed" in kind))
            first = first or run
            show({"benchmark": "treated", "method": given.method, "images": kind, **alike(first, run)})


def treated(plain: Path, data: Path, kind: str) -> None:
    """The set ``plain`` with its images as programs or a lens would have left them."""
    if data != plain:
        shutil.copytree(plain, data)
    particles = read_particles(plain / "particles.star")
    images = particles.images(np.arange(len(particles)))
    ctf = transfer_function(particles.ctf, particles.grid)
    star = read_star(plain / "particles.star")
    if kind.startswith("stretched"):
        # What is straightened by the inverse is stretched, and so is where its particles lie.
        images = straightened(images, particles.grid, np.linalg.inv(LENS))
        moved = -particles.pose.shift.numpy() @ LENS
        table = star.blocks["particles"]
        star.blocks["particles"] = table.assign(rlnOriginXAngst=words(moved[:, 0]), rlnOriginYAngst=words(moved[:, 1]))
    if kind in ("flipped", "multiplied"):
        images = filtered(images, ctf.sign() if kind == "flipped" else ctf)
    write_stack(data / "particles.mrcs", images.numpy(), particles.grid.pixel_size)
    blocks = star.blocks | {"optics": star.blocks["optics"].assign(**COLUMNS[kind])}
    write_star(StarFile(data / "particles.star", blocks), data / "particles.star")


def words(values: Array) -> list[str]:
    return [repr(float(value)) for value in values]


def filtered(images: Tensor, factor: Tensor) -> Tensor:
    return torch.fft.irfft2(torch.fft.rfft2(images) * factor, s=images.shape[-2:])


def alike(first: Path, run: Path) -> dict[str, float]:
    """Correlations of latents and half-maps with those of the first run."""
    latents, maps = {}, {}
    for name, folder in (("first", first), ("this", run)):
        with np.load(folder / "latents.npz") as file:
            latents[name] = file["mean"][np.argsort(file["index"])]
        maps[name] = [mrcfile.read(folder / "maps" / f"map_half{half}.mrc").ravel() for half in (1, 2)]
    pairs = [np.corrcoef(one, other)[0, 1] for one, other in zip(maps["first"], maps["this"], strict=True)]
    told = np.column_stack([latents["this"], np.ones(len(latents["this"]))])
    left = latents["first"] - told @ np.linalg.lstsq(told, latents["first"], rcond=None)[0]
    return {
        "latents_r2": float(1.0 - left.var() / latents["first"].var()),
        "half_map_1_r": float(pairs[0]),
        "half_map_2_r": float(pairs[1]),
    }


if __name__ == "__main__":
    main()
