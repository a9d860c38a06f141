"""The latents of a run's particles, as its training left them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dynaflex.errors import InputError
from dynaflex.shapes import FloatArray, IntArray

LATENTS = "latents.npz"
MOTION = "motion.npz"
"""What a run stores about the motion of its particles, after their latents."""


@dataclass(frozen=True)
class Latents:
    """``mean`` and ``scale`` ``(N k)`` of N particles, with their ``rows`` in the input table and their ``half``."""

    rows: IntArray
    half: IntArray
    mean: FloatArray
    scale: FloatArray


def stored_latents(run: Path) -> Latents:
    """The latents of a trained run.

    Raises:
        InputError: the file is damaged or only half written.
    """
    path = run / LATENTS
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return Latents(
                stored["index"].astype(np.int64),
                stored["half"].astype(np.int64),
                stored["mean"].astype(np.float32),
                stored["scale"].astype(np.float32),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError("view.latents", "the latents cannot be read", file=path, found=error) from error
