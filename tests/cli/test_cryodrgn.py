"""Laws of ``export --to cryodrgn``: its viewers read what the run holds, row by row the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaflex.data.particles import read_particles
from dynaflex.io.foreign.restricted_pickle import load_arrays
from dynaflex.io.mrc import read_map
from dynaflex.io.star import read_star

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def exported(brief_run: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cryodrgn") / "to cryodrgn"
    outcome = command("export", brief_run, "--to", "cryodrgn", "-o", folder)
    assert outcome.code == 0, outcome.err
    assert f"cryodrgn dashboard {folder}" in outcome.out.replace("'", "")
    return folder


def test_poses_and_ctf_come_back_as_they_were(exported: Path, few: Path, command: Command, tmp_path: Path) -> None:
    pickles, back = (exported / "poses.pkl", exported / "ctf.pkl"), tmp_path / "back.star"
    outcome = command("convert", *pickles, "--images", few / "particles.mrcs", "-o", back)
    assert outcome.code == 0, outcome.err
    known, found = (read_particles(path) for path in (few / "particles.star", back))
    assert np.allclose(known.pose.rotation, found.pose.rotation, atol=1e-6)
    assert np.allclose(known.pose.shift, found.pose.shift, atol=1e-4)
    for name in ("defocus_u", "defocus_v", "defocus_angle", "voltage_kv", "cs_mm", "amplitude_contrast", "phase_shift"):
        assert np.allclose(getattr(known.ctf, name), getattr(found.ctf, name), rtol=1e-6, atol=1e-6)


def test_every_row_is_of_one_particle(exported: Path, brief_run: Path) -> None:
    with np.load(brief_run / "latents.npz") as stored:
        rows = np.sort(stored["index"])
    names = read_star(brief_run / "particles.star").blocks["particles"]["rlnImageName"].to_numpy()
    assert (read_star(exported / "particles.star").blocks["particles"]["rlnImageName"] == names[rows]).all()
    (latents,) = exported.glob("z.*.pkl")
    settings = json.loads((exported / "config.yaml").read_text())
    z = load_arrays(latents)
    assert z.shape == (len(rows), settings["model_args"]["zdim"])
    for name in ("particles", "poses", "ctf"):
        assert Path(settings["dataset_args"][name]).parent == exported
    assert (Path(settings["dataset_args"]["datadir"]) / "particles.mrcs").exists()


def test_clusters_and_paths_have_the_maps_of_their_particles(exported: Path, brief_run: Path, command: Command) -> None:
    (analysis,) = exported.glob("analyze.*")
    (clusters,) = analysis.glob("kmeans*")
    z = load_arrays(exported / f"z.{analysis.suffix[1:]}.pkl")
    label = load_arrays(clusters / "labels.pkl")
    middle = np.loadtxt(clusters / "centers_ind.txt", dtype=int)
    count = int(clusters.name.removeprefix("kmeans"))
    assert label.shape == (len(z),) and (label[middle] == np.arange(count)).all()
    assert np.allclose(np.loadtxt(clusters / "centers.txt"), z[middle], rtol=1e-4, atol=1e-5)
    maps = sorted(path.name for path in clusters.glob("*.mrc"))
    assert maps == [f"vol_{number:03d}.mrc" for number in range(1, count + 1)], "cryoDRGN shows clusters from 1"
    out = exported.parent / "ours"
    assert command("volumes", brief_run, "--particles", str(middle[2]), "-o", out).code == 0
    ours, theirs = (read_map(path).data for path in (out / "vol_000.mrc", clusters / "vol_003.mrc"))
    assert np.array_equal(ours, theirs)
    along = np.loadtxt(analysis / "pc1" / "z_values.txt")
    assert len(along) == len(list((analysis / "pc1").glob("vol_*.mrc"))) == 10
    axis = along[-1] - along[0]
    assert ((along[1:] - along[:-1]) @ axis >= -1e-3 * axis @ axis).all(), "from one end to the other"


def test_nothing_but_arrays_is_in_a_pickle(exported: Path) -> None:
    pickles = list(exported.rglob("*.pkl"))
    assert len(pickles) == 4
    for path in pickles:
        load_arrays(path)  # refuses whatever else there is
        assert b"numpy._core" not in path.read_bytes(), "numpy 1 does not know it"
