"""What uneven ice does to the motion that is found: one JSON line per method, motion, spread and half.

    python benchmarks/contrast.py [--methods flex dynamight] [--motions none hinge] [--spreads 0 0.3]

1,200 particles, box 48 at 4 Å, SNR 0.1; trained, not reconstructed. R² are those of a linear fit to the latents.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from judge import dynaflex, show, trained

from dynaflex.results.trained import load_half
from dynaflex.run.directory import Run
from dynaflex.simulation.truth import read_truth

EPOCHS = {"flex": 30, "dynamight": 25}


class Drawn(Protocol):
    """What was drawn for every particle: its ``contrast`` ``(p)`` and its conformation ``coordinate`` ``(p c)``."""

    @property
    def contrast(self) -> np.ndarray:
        """How strongly it shows."""

    @property
    def coordinate(self) -> np.ndarray:
        """How it has moved."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--methods", nargs="+", choices=list(EPOCHS), default=list(EPOCHS))
    options.add_argument("--motions", nargs="+", default=["none", "hinge"])
    options.add_argument("--spreads", nargs="+", type=float, default=[0.0, 0.3])
    given = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        for motion in given.motions:
            for spread in given.spreads:
                data = simulated(Path(scratch) / f"{motion}{spread}", motion, spread)
                for method in given.methods:
                    run = Path(scratch) / f"{method}-{data.name}"
                    trained(method, data, run, "--epochs", EPOCHS[method], "--until", "train")
                    for half in (1, 2):
                        line = {"benchmark": "contrast", "method": method, "motion": motion, "spread": spread}
                        show({**line, "half": half, **figures(run, read_truth(data / "truth.npz"), half)})


def simulated(out: Path, motion: str, spread: float) -> Path:
    size = ("--particles", 1200, "--box", 48, "--pixel-size", 4, "--snr", 0.1)
    dynaflex("simulate", out, "--motion", motion, "--contrast-spread", spread, *size)
    return out


def figures(run: Path, truth: Drawn, half: int) -> dict[str, float]:
    """How well contrasts and angles are known, and how much of the contrast the latents tell."""
    trained_half = load_half(Run.open(run), half)
    rows, latents = trained_half.rows.numpy(), trained_half.latents.mean
    found, true = trained_half.contrast.log().numpy(), np.log(truth.contrast[rows])
    moved = trained_half.displacements(latents, trained_half.model.density.landmarks())
    return {
        "contrast_spread_found": float(found.std()),
        "contrast_correlation": correlation(found, true),
        "contrast_told_by_latents_r2": linear_r2(latents.numpy(), true),
        "motion_rms": float((moved - moved.mean(dim=0)).square().sum(dim=-1).mean().sqrt()),
        "angle_r2": linear_r2(latents.numpy(), truth.coordinate[rows, 0]),
    }


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 0 and other.std() > 0 else math.nan


def linear_r2(latents: np.ndarray, values: np.ndarray) -> float:
    if not values.std() > 0:
        return math.nan
    design = np.column_stack([np.ones(len(latents)), latents])
    left = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return float(1.0 - left.var() / values.var())


if __name__ == "__main__":
    main()
