"""Runs that are ready to be trained, as small as they can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SIZE = {
    "dynamight": ("--gaussians", 40, "--layers", 3, "--width", 16, "--start", "random", "--latent-dim", 2),
    "flex": ("--cells", 6, "--width", 8, "--start", "zero", "--latent-dim", 2),
}


@pytest.fixture(scope="session")
def prepared(few: Path, made_once: Callable[..., Path], command: Callable[..., object]) -> Callable[[str], Path]:
    """``prepared("flex")``: a run up to its training."""

    def run(method: str) -> Path:
        files = (few / "particles.star", "--map", few / "consensus.mrc", "--mask", few / "mask.mrc")
        brief = ("--train-box", 16, "--batch-size", 16, "--epochs", 6, "--until", "prepare", *SIZE[method])
        return (
            made_once(f"prepared_{method}", lambda folder: command(method, *files, "-o", folder / "run", *brief))
            / "run"
        )

    return run


@pytest.fixture(scope="session")
def brief_flex(few: Path, run_of: Callable[..., Path]) -> Path:
    """A run of 3DFlex up to its maps."""
    brief = ("--cells", 8, "--width", 16, "--batch-size", 8, "--epochs", 3, "--until", "reconstruct")
    return run_of("flex", few, *brief)
