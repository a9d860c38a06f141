"""Laws of the domains in the report: the numbers are those of the motion, along the line of ``dynaflex analyze``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dynaflex.products.series import Domains, first_component, main_series, motion_table
from dynaflex.products.space import conformation_space
from dynaflex.report.domains import HEAD, DomainsFound
from dynaflex.results.trained import load_half
from dynaflex.run.directory import Run


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return points @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])


@pytest.fixture
def found() -> DomainsFound:
    """Two bodies of which the second turns by 30° about z, from -15° to 15°, and the first stands still."""
    points = np.random.default_rng(0).normal(scale=10.0, size=(90, 3))
    label = np.where(np.arange(90) < 60, 1, 2)
    moved = np.stack([np.where(label[:, None] == 2, turned(points, angle), points) for angle in (-15.0, 0.0, 15.0)])
    domains = Domains(points, label, "the segments of the mesh", {"axis1": moved})
    return DomainsFound(domains, motion_table(domains))


def test_the_table_says_who_turns_by_how_much_about_which_axis(found: DomainsFound) -> None:
    rows = [dict(zip(HEAD, row, strict=True)) for row in found.rows()]
    assert [(row["domain"], row["seen from"]) for row in rows] == [("1", "map"), ("2", "map"), ("2", "domain 1")]
    assert rows[0]["turns by"] == "0.0°" and rows[0]["about the axis x, y, z"] == "none"
    assert rows[2]["turns by"] == "30.0°" and rows[2]["about the axis x, y, z"].endswith("+1.00")
    assert rows[2]["of the molecule"] == "33%" and rows[2]["not rigid"] == "0.0 Å"
    assert "domain 2 turns by 30° against domain 1" in found.sentence()
    assert "segments of the mesh" in found.sentence() and "not the motion of a body" not in found.sentence()


def test_a_part_that_bends_is_not_sold_as_a_body(found: DomainsFound) -> None:
    moved = found.domains.moved["axis1"].copy()
    moved[-1, found.domains.label == 2] += np.random.default_rng(1).normal(scale=20.0, size=(30, 3))
    domains = Domains(found.domains.points, found.domains.label, "found", {"axis1": moved})
    assert "not the motion of a body" in DomainsFound(domains, motion_table(domains)).sentence()


def test_the_line_is_that_of_analyze(brief_run: Path) -> None:
    run = Run.open(brief_run)
    analysed = main_series(conformation_space(run), 1, 4)[0]
    np.testing.assert_allclose(first_component(load_half(run, 1), 4).latents, analysed.latents, atol=1e-5)
    found = DomainsFound.of(run, load_half(run, 1))
    assert found.domains.moved.keys() == {analysed.name} and len(found.rows()) >= 1
