"""Laws of the latent axes: report, explorer and analysis show the same axes, in one order, with one sense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dynaflex.analyze.axes import principal_axes
from dynaflex.report.drawing.latents import draw_latents
from dynaflex.run.directory import Run
from dynaflex.viewer.particles.table import ParticleTable

SETS = range(200)


def some_latents(seed: int) -> np.ndarray:
    """Latents of 40 to 90 particles in 2 to 6 dimensions, off centre, spread differently along skew axes."""
    random = np.random.default_rng(seed)
    k = int(random.integers(2, 7))
    skew = np.linalg.qr(random.normal(size=(k, k)))[0]
    return (random.normal(size=(random.integers(40, 90), k)) * 0.7 ** np.arange(k)) @ skew + random.normal(size=k)


def of_the_report(mean: np.ndarray, half: np.ndarray, shared: bool) -> dict[int, np.ndarray]:
    """The points ``(p 2)`` that the figure of the report draws in the plane of two components, by half."""
    panels = draw_latents(mean, half, shared, False).figure.axes
    return {number: np.asarray(panels[number - 1].collections[0].get_offsets()) for number in (1, 2)}


def of_the_explorer(mean: np.ndarray, half: np.ndarray, shared: bool, run: Path) -> dict[int, np.ndarray]:
    """The same from the columns that the explorer offers as components."""
    np.savez(run / "latents.npz", index=np.arange(len(half)), half=half, mean=mean, scale=np.full_like(mean, 0.1))
    table = ParticleTable(Run(run), shared)
    components = [column.identifier for column in table.columns() if column.kind == "component"]
    values = np.stack([table.values(name) for name in components[:2]], axis=1)
    return {number: values[half == number] for number in (1, 2)}


@pytest.mark.parametrize("shared", [False, True])
def test_report_explorer_and_analysis_show_the_same_components(shared: bool, tmp_path: Path) -> None:
    for seed in SETS:
        mean = some_latents(seed)
        half = 1 + np.random.default_rng(seed).permutation(len(mean)) % 2
        drawn, explored = of_the_report(mean, half, shared), of_the_explorer(mean, half, shared, tmp_path)
        for number in (1, 2):
            axes = principal_axes(mean if shared else mean[half == number], 2)
            expected = axes.coordinates(mean[half == number])
            np.testing.assert_allclose(drawn[number], expected, atol=1e-6, err_msg=f"report, set {seed}")
            np.testing.assert_allclose(explored[number], expected, atol=1e-4, err_msg=f"explorer, set {seed}")


def test_the_largest_entry_of_an_axis_is_positive_and_the_first_axis_is_the_widest() -> None:
    for seed in SETS:
        found = principal_axes(some_latents(seed), 6)
        assert (found.axes[np.arange(len(found.axes)), np.abs(found.axes).argmax(axis=1)] > 0).all()
        assert (np.diff(found.variance) <= 0).all()
