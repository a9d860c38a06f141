"""What analyze found, shown only of the particles and latents that it was found of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dynaflex.products.analyse import analyse, write_analysis
from dynaflex.products.names import ANALYSIS, PARTICLES
from dynaflex.run.directory import Run
from dynaflex.viewer.opened import OpenedRun
from dynaflex.viewer.particles.analysed import Analysed
from dynaflex.viewer.particles.planes import Planes
from dynaflex.viewer.particles.table import ParticleTable
from viewer.conftest import PARTICLES as COUNT
from viewer.conftest import make_hollow

TABLE = f"{ANALYSIS}/{PARTICLES}"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of 50 particles with an analysis in which the lines are in an order of their own."""
    run = make_hollow(tmp_path / "run")
    (run / "analysis").mkdir()
    order = np.random.default_rng(2).permutation(COUNT)
    analysis(run).iloc[order].to_csv(run / TABLE, index=False)
    return run


def analysis(run: Path) -> pd.DataFrame:
    particles = ParticleTable(Run(run), False)
    latents = {f"latent{k + 1}": np.round(particles.mean[:, k], 5) for k in range(3)}
    angle = np.linspace(0.0, 2.0 * np.pi, COUNT, endpoint=False)
    labels = {"kmeans": np.arange(COUNT) % 4 + 1, "density": np.arange(COUNT) % 3}
    places = {"motion1": 5.0 * particles.mean[:, 0], "pca1": 0.0 * angle}
    plane = {"umap1": np.cos(angle), "umap2": np.sin(angle)}
    return pd.DataFrame({"row": particles.rows, "half": particles.half, **labels, **latents, **places, **plane})


def change(run: Path, work: Callable[[pd.DataFrame], pd.DataFrame]) -> Analysed:
    table = work(pd.read_csv(run / TABLE))
    table.to_csv(run / TABLE, index=False)
    return ParticleTable(Run(run), False).analysed


def test_columns_of_the_analysis_are_matched_by_row(run: Path) -> None:
    particles = ParticleTable(Run(run), False)
    found = {column.identifier: column for column in particles.analysed.columns}
    assert {name: column.kind for name, column in found.items()} == {
        "umap1": "layout", "umap2": "layout", "kmeans": "cluster", "density": "cluster",
    }  # fmt: skip
    assert [found[name].label for name in ("umap1", "umap2")] == ["UMAP 1", "UMAP 2"]
    assert particles.analysed.hint is particles.analysed.trouble is None
    angle = np.linspace(0.0, 2.0 * np.pi, COUNT, endpoint=False)
    np.testing.assert_allclose(particles.values("umap2"), np.sin(angle), atol=1e-5)
    assert particles.values("kmeans").tolist() == (np.arange(COUNT) % 4 + 1).tolist()


def test_particles_in_no_cluster_have_no_number(run: Path) -> None:
    found = ParticleTable(Run(run), False).values("density")
    assert np.isnan(found[::3]).all() and set(found[~np.isnan(found)].tolist()) == {1.0, 2.0}


def test_a_layout_has_no_inverse_but_its_nearest_particles(run: Path) -> None:
    particles = ParticleTable(Run(run), False)
    planes = Planes(particles, None)
    for half in (1, 2):
        own = np.flatnonzero(particles.half == half)
        z = planes.at(half, ("umap1", "umap2"), (1.0, 0.0)).latents
        across = np.stack([particles.values(name)[own] for name in ("umap1", "umap2")])
        nearest = own[np.argsort(np.hypot(across[0] - 1.0, across[1]), kind="stable")[:8]]
        np.testing.assert_allclose(z, particles.mean[nearest].mean(axis=0), rtol=1e-5)
    with pytest.raises(KeyError):
        planes.at(1, ("umap1", "kmeans"), (0.0, 0.0))


def test_nobody_is_near_where_a_layout_is_empty(run: Path) -> None:
    planes = Planes(ParticleTable(Run(run), False), None)
    # The particles lie on a circle; its middle is empty.
    on, inside = (planes.at(1, ("umap1", "umap2"), (radius, 0.0)) for radius in (1.0, 0.0))
    assert on.near > 0 == inside.near and on.radius == inside.radius and on.unit == ""


def test_latents_lie_in_a_layout_where_the_particles_like_them_do(run: Path) -> None:
    particles = ParticleTable(Run(run), False)
    own = np.flatnonzero(particles.half == 2)
    z = particles.mean[own[:3]]
    found = Planes(particles, None).places(2, ("umap1", "component2"), z)
    axis, origin = particles.axis(2, "component2")
    np.testing.assert_allclose(found[:, 1], z @ axis + origin, atol=1e-5)
    for row, one in enumerate(z):
        nearest = own[np.argsort(np.linalg.norm(particles.mean[own] - one, axis=1))[:8]]
        assert found[row, 0] == pytest.approx(particles.values("umap1")[nearest].mean(), rel=1e-4)


def test_without_an_analysis_the_page_says_which_command_makes_one(run: Path) -> None:
    (run / TABLE).unlink()
    found = ParticleTable(Run(run), False).analysed
    assert found.columns == [] and found.trouble is None and "dynaflex analyze RUN --umap" in str(found.hint)


def test_without_umap_only_that_is_missing(run: Path) -> None:
    found = change(run, lambda table: table.drop(columns=["umap1", "umap2"]))
    assert found.hint == "UMAP: dynaflex analyze RUN --umap" and len(found.columns) == 2


@pytest.mark.parametrize(
    ("work", "word"),
    [
        (lambda table: table.iloc[:-1], "49 particles"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "51 particles"),
        (lambda table: table.assign(row=table["row"] + 1), "50 particles"),
        (lambda table: table.assign(latent3=table["latent3"] + 0.01), "before the latents changed"),
        (lambda table: table.assign(half=3 - table["half"]), "before the latents changed"),
        (lambda table: table.drop(columns="latent2"), "damaged"),
        (lambda table: table.assign(kmeans="a"), "damaged"),
        (lambda table: table.assign(umap1=table["umap1"].where(table["row"] > 9)), "gaps"),
    ],
)
def test_an_analysis_of_something_else_is_not_used(
    run: Path, work: Callable[[pd.DataFrame], pd.DataFrame], word: str
) -> None:
    found = change(run, work)
    assert found.columns == [] and found.values == {}
    assert found.trouble is not None and word in found.trouble and "not used" in found.trouble


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe", b"PK\x03\x04", b"row\n1\n", b'row,half\n"', b"\x1f\x8b\x08"])
def test_a_file_that_is_no_table_is_not_used(run: Path, content: bytes) -> None:
    (run / TABLE).write_bytes(content)
    found = ParticleTable(Run(run), False).analysed
    assert found.columns == [] and found.trouble is not None


def test_a_new_analysis_is_seen(run: Path) -> None:
    opened = OpenedRun(run)
    before = opened.state()
    assert opened.columns()["trouble"] is None
    (run / TABLE).write_text("row,half\n")
    assert opened.state() != before and opened.columns()["trouble"] is not None


@pytest.mark.parametrize("options", [("dynamight",), ("flex", "--half-sets", "shared")], ids=["apart", "shared"])
def test_what_analyze_writes_is_what_is_read(brief_of: Callable[..., tuple[Path, Any]], options: tuple[str]) -> None:
    path, outcome = brief_of(*options)
    assert outcome.code == 0, outcome.err
    run = Run.open(path)
    found = analyse(run, half=1, clusters=3, frames=3, with_umap=False, segments=None)
    write_analysis(found, path / "analysis", None)
    stage = OpenedRun(path).stage()
    particles = stage.particles
    assert particles.analysed.trouble is None
    table = pd.read_csv(path / TABLE).set_index("row").loc[particles.rows]
    np.testing.assert_array_equal(particles.values("kmeans"), table["kmeans"])
    # The explorer computes the motion itself, as analyze does: the same axes, with the same sense.
    assert stage.motion is not None and stage.motion.awaited() == 1.0
    order = np.argsort(found.space.rows)[np.argsort(np.argsort(particles.rows))]
    np.testing.assert_allclose(stage.motion.values, found.space.motion[order], atol=1e-4)
    assert np.nanmax(particles.values("kmeans")) == 3
