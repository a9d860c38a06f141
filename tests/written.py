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
