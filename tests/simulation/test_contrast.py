"""The law of simulated contrast."""

from __future__ import annotations

import math
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from dynaflex.simulation.particles import simulate


def test_contrast_is_a_factor_of_each_image_and_changes_nothing_else(tmp_path: Path) -> None:
    even, uneven = (
        simulate(tmp_path / str(spread), 200, 16, 12.0, math.inf, "hinge", 0, spread) for spread in (0.0, 0.3)
    )
    images = [mrcfile.read(tmp_path / name / "particles.mrcs") for name in ("0.0", "0.3")]
    np.testing.assert_allclose(images[1], uneven.contrast[:, None, None] * images[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(even.contrast, 1.0)
    assert np.log(uneven.contrast).std() == pytest.approx(0.3, abs=0.05)
    np.testing.assert_array_equal(even.euler, uneven.euler)
    np.testing.assert_array_equal(even.coordinate, uneven.coordinate)
