"""The law of simulated ramps."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from dynaflex.simulation.particles import simulate


def test_a_ramp_is_a_plane_on_each_image_and_changes_nothing_else(tmp_path: Path) -> None:
    even, uneven = (simulate(tmp_path / str(rise), 100, 16, 12.0, 0.1, ramp_spread=rise) for rise in (0.0, 3.0))
    flat, sloped = (mrcfile.read(tmp_path / name / "particles.mrcs") for name in ("0.0", "3.0"))
    planes = sloped - flat
    assert np.abs(planes[:, 8, 8]).max() < 1e-5
    for axis in (1, 2):
        steps = np.diff(planes, axis=axis)
        np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1, :1], steps.shape), atol=1e-5)
        # A sixteenth of the rise over the whole width from pixel to pixel.
        assert 16.0 * steps[:, 0, 0].std() == pytest.approx(3.0, rel=0.2)
    np.testing.assert_array_equal(even.coordinate, uneven.coordinate)
    assert even.amplitude == uneven.amplitude
