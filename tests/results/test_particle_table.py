"""Every part of a run finds the particles in the same block of the table, however many rows other blocks have."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dynaflex.io.star import read_star, write_star
from dynaflex.run.directory import Run
from dynaflex.viewer.particles.selections import Selections
from dynaflex.viewer.particles.table import ParticleTable
from viewer.conftest import make_hollow

GROUPS = 150


@pytest.fixture
def data(few: Path, tmp_path: Path) -> Path:
    """120 particles with an optics group each, in a table of 150; and a longer block that is nobody's."""
    folder = tmp_path / "data"
    shutil.copytree(few, folder)
    star = read_star(folder / "particles.star")
    optics = pd.concat([star.blocks["optics"]] * GROUPS, ignore_index=True)
    optics["rlnOpticsGroup"] = [str(n + 1) for n in range(GROUPS)]
    optics["rlnOpticsGroupName"] = [f"hole{n}" for n in range(GROUPS)]
    star.blocks["particles"]["rlnOpticsGroup"] = [str(n + 1) for n in range(len(star.blocks["particles"]))]
    picks = pd.DataFrame({"rlnMicrographName": [f"m{n}.mrc" for n in range(2 * GROUPS)]}, dtype=object)
    star.blocks = {"optics": optics, "micrographs": picks, "particles": star.blocks["particles"]}
    write_star(star, folder / "particles.star")
    return folder


def test_a_table_that_is_only_written_otherwise_is_the_same(data: Path, brief: Callable[..., tuple[Path, Any]]) -> None:
    run, outcome = brief("--until", "prepare", data=data)
    assert outcome.code == 0, outcome.err
    text = (data / "particles.star").read_text()
    (data / "particles.star").write_text(text.replace("\t", "    "))
    _, outcome = brief("--resume", "--until", "prepare", data=data, out=run)
    assert outcome.code == 0, outcome.err
    star = read_star(data / "particles.star")
    star.blocks["particles"].loc[7, "rlnAngleRot"] = "12.5"
    write_star(star, data / "particles.star")
    _, outcome = brief("--resume", "--until", "prepare", data=data, out=run)
    assert outcome.code == 8 and "1 of 120 rows differ" in outcome.err


def test_the_explorer_writes_the_particles_of_that_block(data: Path, tmp_path: Path) -> None:
    run = make_hollow(tmp_path / "run")
    shown = read_star(run / "particles.star")
    (block,) = (name for name in shown.blocks if name != "optics")
    longer = pd.DataFrame({"rlnImageName": ["1@other.mrcs"] * 3}, dtype=object)
    shown.blocks = {"earlier": longer, **shown.blocks}
    write_star(shown, run / "particles.star")
    particles = ParticleTable(Run(run), False)
    stored = Selections(run).save("two", np.arange(len(particles)) < 2, particles, "by hand")
    subset = read_star(run / stored["file"])
    assert len(subset.blocks[block]) == 2 and len(subset.blocks["earlier"]) == 3
