"""What a run wrote, read without any of the code that wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import torch


def latents_of(run: Path) -> dict[str, np.ndarray]:
    """The arrays of its latents, by name."""
    with np.load(run / "latents.npz") as stored:
        return {name: stored[name] for name in stored.files}


def load_json(path: Path) -> Any:
    """What a file says."""
    return json.loads(path.read_text())


def volume(run: Path, name: str) -> torch.Tensor:
    """One of its maps."""
    with mrcfile.open(run / "maps" / f"{name}.mrc") as file:
        return torch.from_numpy(file.data.copy())


def curves(run: Path, half: int) -> dict[str, np.ndarray]:
    """What the lines of a half say of its likelihood, by name, smoothed over three epochs."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["half"] == half]
    names = [prefix + name for prefix in ("", "held_out_") for name in ("log_likelihood", "gain")]
    return {name: np.convolve([line[name] for line in lines], np.ones(3) / 3, "valid") for name in names}
