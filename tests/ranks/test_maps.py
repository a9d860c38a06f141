"""Laws of what several ranks sum over particles once: maps, latents and the linear start are those of one rank."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynaflex.shapes import Array
from ranks.tasks import solved, together


def apart(one: Array, two: Array) -> float:
    return float(np.linalg.norm(two - one) / np.linalg.norm(one))


def test_maps_latents_and_the_start_are_those_of_one(brief_flex: Path, tmp_path: Path) -> None:
    """On more ranks than divide the particles, of which both folds have an odd number of pairs."""
    together(1, solved, tmp_path, brief_flex, tmp_path / "alone")
    together(3, solved, tmp_path, brief_flex, tmp_path / "all")
    alone = np.load(tmp_path / "alone0.npz")
    for rank in range(3):
        found = np.load(tmp_path / f"all{rank}.npz")
        for name, most in {"fold maps": 1e-5, "rigid": 1e-5, "corrected": 1e-4, "start": 1e-3}.items():
            assert apart(alone[name], found[name]) < most, name
        # Rounding decides for a particle whose last step would hardly be better, or hardly worse.
        elsewhere = np.linalg.norm(found["latents"] - alone["latents"], axis=1) > 1e-3
        assert elsewhere.mean() < 0.1, elsewhere.sum()
