"""The data sets of `dynaflex simulate`, as the judge sees them."""

from __future__ import annotations

from pathlib import Path

from judge import dynaflex

from dynaflex.judge.scene import SimulatedScene

PARTICLES = 5000


def scene_of(data: Path) -> SimulatedScene:
    """The scene of a folder that ``dynaflex simulate`` wrote."""
    return SimulatedScene.read(data / "truth.npz")


def simulated(out: Path, motion: str) -> Path:
    """The data set that methods are judged on: 5,000 particles, box 64, SNR 0.1."""
    dynaflex("simulate", out, "--particles", PARTICLES, "--box", 64, "--snr", 0.1, "--motion", motion)
    return out
