"""Laws of whole runs on tilt series: images of a particle share its conformation, and one image is one particle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynaflex.config import RunConfig
from dynaflex.data.columns import PARTICLE, TOMOGRAM
from dynaflex.data.particles import read_particles
from dynaflex.errors import UsageError
from dynaflex.io.mrc import read_map
from dynaflex.io.star import read_star, write_star
from dynaflex.prepare.before_training import require_able
from dynaflex.prepare.images import Imaging, ParticleImages
from dynaflex.prepare.inputs import InputPaths, read_inputs
from dynaflex.products.states.surroundings import Surroundings
from dynaflex.reconstruct.iterative import solve
from dynaflex.reconstruct.rigid import rigid_equations
from dynaflex.run.directory import Run
from dynaflex.simulation.particles import simulate
from dynaflex.simulation.truth import true_volume
from dynaflex.validate.fsc import fourier_shell_correlation
from dynaflex.viewer.particles.selections import Selections
from dynaflex.viewer.particles.table import ParticleTable
from written import latents_of

Brief = Callable[..., tuple[Path, Any]]
METHODS = ("flex", "dynamight")


@pytest.fixture(scope="module")
def tilted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 particles of the hinge in four tilts each."""
    folder = tmp_path_factory.mktemp("tilted")
    simulate(folder, 70, 32, 6.0, 1.0, "hinge", 0, tilts=4)
    return folder


@pytest.fixture(scope="module")
def trained(tilted: Path, brief_of: Brief) -> Brief:
    """``trained("flex")``: a brief run on these."""
    return cache(lambda method: brief_of(method, data=tilted))


@pytest.mark.parametrize("method", METHODS)
def test_images_of_a_particle_share_what_is_found_of_it(trained: Brief, method: str) -> None:
    run, outcome = trained(method)
    assert outcome.code == 0, outcome.err
    found = latents_of(run)
    table = read_star(run / "particles.star").blocks["particles"]
    assert len(found["index"]) == len(table) > 70
    names = table[PARTICLE].to_numpy()[found["index"]]
    for name in np.unique(names):
        mine = names == name
        for of in ("mean", "scale", "half"):
            assert (found[of][mine] == found[of][mine][0]).all()
        assert len(set(table["dynaflexContrast"].to_numpy()[found["index"][mine]])) == 1
    assert len(np.unique(found["mean"], axis=0)) == 70, "and of no others"
    counts = json.loads((run / "provenance.json").read_text())["counts"]
    assert counts["tilted"] == 70 and counts["used"] == len(table)
    assert (run / "maps" / "map_half1.mrc").exists()


def test_a_subset_is_a_table_of_particles_as_relion_has_it(
    tilted: Path, tmp_path: Path, trained: Brief, command: Callable[..., Any]
) -> None:
    """Whole particles, also where an image of each is named; every value as it was."""
    run, _ = trained("flex")
    before, flat = (read_star(folder / "particles.star").blocks["particles"] for folder in (tilted, run))
    chosen = before[PARTICLE].iloc[[3, 50, 69]].tolist()
    rows = [int(np.flatnonzero(flat[PARTICLE] == name)[-1]) for name in chosen]
    (tmp_path / "rows.txt").write_text("\n".join(map(str, rows)))
    outcome = command("select", run, "--particles", tmp_path / "rows.txt", "-o", tmp_path / "subset.star")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("3 of 70 particles")
    after = read_star(tmp_path / "subset.star").blocks["particles"]
    assert after.equals(before.iloc[[3, 50, 69]].reset_index(drop=True))


def test_a_state_has_whole_particles_counted_once(trained: Brief, tmp_path: Path, command: Callable[..., Any]) -> None:
    """Around a conformation as from a table of RELION's own, wherever that lies."""
    run, _ = trained("flex")
    both = Surroundings(Run.open(run))
    names = read_star(run / "particles.star").blocks["particles"][PARTICLE].to_numpy()
    for half, found in both.around((both.halves[1], both.halves[1].latents.mean[0]), 21).items():
        seen = names[both.halves[half].rows.numpy()[found.index]]
        assert found.particles == len(set(seen)) <= 21
        assert len(seen) == np.isin(names, seen).sum() == len(found.distance)
    (tmp_path / "rows.txt").write_text("\n".join(map(str, range(0, len(names), 5))))
    subset = tmp_path / "subset.star"
    assert command("select", run, "--particles", tmp_path / "rows.txt", "-o", subset).code == 0
    outcome = command("reconstruct", run, "--particles", subset, "-o", tmp_path / "state")
    assert outcome.code == 0, outcome.err
    said = json.loads((tmp_path / "state" / "state.json").read_text())
    chosen = set(names[::5])
    assert sum(said["particles"].values()) == len(chosen)
    assert sum(said["images"].values()) == np.isin(names, list(chosen)).sum() > len(chosen)


def test_the_explorer_shows_particles_and_selects_them_whole(trained: Brief, tilted: Path) -> None:
    run, _ = trained("flex")
    shown, before = ParticleTable(Run.open(run), shared=False), read_star(tilted / "particles.star").blocks["particles"]
    assert len(shown) == len(shown.values("gain")) == len(shown.values("star1")) == len(before) == 70
    chosen = np.zeros(70, dtype=bool)
    chosen[[3, 50]] = True
    flat = read_star(run / "particles.star").blocks["particles"]
    names = flat[PARTICLE].iloc[shown.rows[chosen]].tolist()
    assert set(flat[PARTICLE].iloc[shown.rows_of(chosen)]) == set(names)
    assert (flat[PARTICLE].isin(names)).sum() == len(shown.rows_of(chosen)) > 2
    stored = Selections(run).save("two", chosen, shown, "by hand")
    assert stored["count"] == 2
    after = read_star(run / stored["file"]).blocks["particles"]
    assert after.equals(before[before[PARTICLE].isin(names)].reset_index(drop=True))
    shutil.rmtree(run / "selections")


def test_relion_is_handed_its_own_table_back(trained: Brief, tilted: Path, tmp_path: Path, command: Any) -> None:
    run, _ = trained("flex")
    outcome = command("export", run, "--to", "relion", "-o", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    before, after = (read_star(one / "particles.star").blocks["particles"] for one in (tilted, tmp_path / "out"))
    assert after.equals(before) and "optimisation set" in outcome.out


@pytest.mark.parametrize("method", METHODS)
def test_a_particle_of_one_image_is_as_in_single_particle_work(
    few: Path, tmp_path: Path, brief_of: Brief, method: str
) -> None:
    star = read_star(few / "particles.star")
    table = star.blocks["particles"]
    table[TOMOGRAM], table[PARTICLE] = "TS_1", [f"TS_1/{i}" for i in range(len(table))]
    write_star(star, tmp_path / "particles.star")
    for name in ("particles.mrcs", "consensus.mrc", "mask.mrc"):
        (tmp_path / name).symlink_to(few / name)
    runs = [brief_of(method, data=data)[0] for data in (few, tmp_path)]
    one, other = map(latents_of, runs)
    for name in ("index", "half", "mean", "scale"):
        assert np.array_equal(one[name], other[name])
    maps = [read_map(run / "maps" / "map_half1.mrc").data for run in runs]
    assert np.array_equal(*maps)


def test_images_of_a_rigid_molecule_give_its_map_back(tmp_path: Path) -> None:
    """Poses, shifts, depths and doses as they are read: any that is wrong blurs the map."""
    truth = simulate(tmp_path, 90, 32, 6.0, 2.0, "none", 1, tilts=6)
    particles = read_particles(tmp_path / "optimisation_set.star")
    images = ParticleImages(particles, Imaging(particles.grid, 150.0, 10.0), torch.device("cpu"))

    def batches() -> Any:
        return map(images.batch, torch.arange(len(images)).split(64))

    volume = solve(rigid_equations(images.grid, batches, torch.ones(images.grid.n_shells)), 10)
    curve = fourier_shell_correlation(volume, true_volume(truth, truth.coordinate[0], truth.grid))
    assert float(curve[1:-2].min()) > 0.9


@pytest.mark.parametrize(
    ("method", "options", "identifier"),
    [
        ("multibody", ("--segments", "segments.mrc"), "tomography.method"),
        ("flex", ("--symmetry", "C2"), "tomography.symmetry"),
        ("dynamight", ("--refine-poses",), "tomography.poses"),
    ],
)
def test_what_treats_images_as_particles_is_refused(
    tilted: Path, tmp_path: Path, command: Callable[..., Any], method: str, options: tuple[str, ...], identifier: str
) -> None:
    given = [tilted / one if one.endswith(".mrc") else one for one in options]
    refuse = partial(command, method, tilted / "optimisation_set.star", "--map", tilted / "consensus.mrc")
    outcome = refuse("-o", tmp_path / "run", *given)
    assert outcome.code in (2, 3) and f"[{identifier}]" in outcome.err
    assert not (tmp_path / "run").exists()


def test_what_does_not_know_tilt_series_says_so(tilted: Path, trained: Brief, command: Callable[..., Any]) -> None:
    files = (tilted / "optimisation_set.star", "--map", tilted / "consensus.mrc")
    run, _ = trained("flex")
    assert "[export.several-rows]" in command("export", run, "--to", "cryodrgn").err
    assert "[tomography.plan]" in command("check", *files, "--plan", "--method", "flex").err
    inputs = read_inputs(InputPaths(files[0], tilted / "consensus.mrc"), RunConfig())
    with pytest.raises(UsageError) as caught:
        require_able(inputs, "flex", reads_tilt_series=True, in_a_crew=True)
    assert caught.value.identifier == "tomography.ranks"
