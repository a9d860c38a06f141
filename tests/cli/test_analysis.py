"""Laws of ``analyze``: what it writes agrees with the run, with each other and with the truth."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dynaflex.io.mrc import read_map, write_map
from dynaflex.results.trained import displacements, load_half
from dynaflex.run.directory import Run
from dynaflex.simulation.truth import read_truth
from scripts import arrows

Command = Callable[..., Any]
FRAMES = 4
"""Conformations in each series of :func:`analysed`."""


def columns(table: pd.DataFrame, name: str) -> np.ndarray:
    return table[[column for column in table if column.startswith(name)]].to_numpy()


def test_every_particle_is_in_the_table_with_its_own_latents(finished_run: Path, table: pd.DataFrame) -> None:
    with np.load(finished_run / "latents.npz") as stored:
        assert np.array_equal(table["row"], stored["index"]) and np.array_equal(table["half"], stored["half"])
        assert np.allclose(columns(table, "latent"), stored["mean"], atol=1e-5)


def test_components_are_uncorrelated_and_principal(table: pd.DataFrame) -> None:
    for half in (1, 2):
        covariance = np.cov(columns(table[table["half"] == half], "pca").T)
        scale = covariance.diagonal()
        assert (np.diff(scale) <= 1e-9).all()
        assert np.abs(covariance - np.diag(scale)).max() < 1e-3 * scale[0]
    covariance = np.cov(columns(table, "motion").T)
    assert np.abs(covariance - np.diag(covariance.diagonal())).max() < 1e-3 * covariance[0, 0]


def test_both_halves_lie_on_one_axis_of_motion(simulated: Path, table: pd.DataFrame) -> None:
    # Their latent spaces are their own; what the molecule does in them is the same.
    angle = read_truth(simulated / "truth.npz").coordinate[table["row"], 0]
    halves = [table["half"].to_numpy() == half for half in (1, 2)]
    signs = [np.corrcoef(table["motion1"][mine], angle[mine])[0, 1] for mine in halves]
    assert min(map(abs, signs)) > 0.8
    assert signs[0] * signs[1] > 0


def test_a_component_is_as_long_as_the_molecule_moves(finished_run: Path, table: pd.DataFrame) -> None:
    with np.load(finished_run / "motion.npz") as motion:
        points = motion["points"]
    rows = table["row"][table["half"] == 1].to_numpy()
    moved = displacements(finished_run, points, rows.tolist(), 1)
    rms = np.sqrt(np.square(moved - moved.mean(axis=0)).sum(axis=2).mean(axis=1))
    assert np.allclose(np.linalg.norm(columns(table, "motion")[table["half"] == 1], axis=1), rms, rtol=0.05, atol=0.05)


def test_the_hinge_turns_about_its_axis(simulated: Path, analysed: tuple[Path, str]) -> None:
    truth = read_truth(simulated / "truth.npz")
    found = pd.read_csv(analysed[0] / "motion.csv")
    arm = found[(found["series"] == "axis1") & (found["seen_from"] == "domain 1")].nlargest(1, "rotation_deg").iloc[0]
    axis = arm[["axis_x", "axis_y", "axis_z"]].to_numpy(dtype=float)
    assert abs(axis @ truth.motion.rotors[0].axis) > np.cos(np.radians(20.0))
    assert 15.0 < arm["rotation_deg"] < 70.0
    assert (found["residual_A"] <= found["rmsd_A"] + 1e-9).all()
    assert f"{arm['rotation_deg']:.1f}°" in analysed[1]


def test_clusters_are_counted_and_represented_by_their_own(analysed: tuple[Path, str], table: pd.DataFrame) -> None:
    clusters = pd.read_csv(analysed[0] / "clusters.csv")
    assert len(clusters[clusters["kind"] == "kmeans"]) == 3
    for cluster in clusters.itertuples():
        mine = table[table[cluster.kind] == cluster.cluster]
        assert len(mine) == cluster.particles == cluster.half1 + cluster.half2
        assert cluster.representative_row in set(mine["row"])


def test_a_path_gives_its_maps_again(
    finished_run: Path, analysed: tuple[Path, str], command: Command, tmp_path: Path
) -> None:
    for series in ("axis1", "dense"):
        folder = analysed[0] / series
        assert command("volumes", finished_run, "--path", folder / "path.npy", "-o", tmp_path / series).code == 0
        for number in range(FRAMES):
            name = f"vol_{number:03d}.mrc"
            assert np.allclose(read_map(folder / name).data, read_map(tmp_path / series / name).data, atol=1e-4)


def test_arrows_are_as_long_as_the_hinge_swings(analysed: tuple[Path, str]) -> None:
    bild = analysed[0] / "axis1" / "motion.bild"
    assert {line.split()[0] for line in bild.read_text().splitlines()} <= {".comment", ".color", ".arrow", ".cylinder"}
    ends = arrows(bild)
    lengths = np.linalg.norm(ends[:, 3:] - ends[:, :3], axis=1)
    assert lengths.min() >= 0.49 and lengths.max() > 10.0


@pytest.mark.parametrize(
    "asked",
    [
        ("analyze", "--frames", 2, "--no-movies"),
        ("volumes", "--axis", 1, "--frames", 2, "--from-particles"),
        ("export", "--to", "chimerax"),
    ],
)
def test_no_result_is_written_twice(
    finished_run: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: tuple[object, ...]
) -> None:
    written: list[str] = []
    replace = os.replace

    def noted(source: object, target: object) -> None:
        written.append(str(target))
        replace(str(source), str(target))

    monkeypatch.setattr(os, "replace", noted)
    name, *options = asked
    outcome = command(name, finished_run, *options, "-o", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    results = [path for path in written if not Path(path).name.startswith(".dynaflex-")]
    assert len(results) > 3 and len(results) == len(set(results))


def test_pictures_are_drawn(analysed: tuple[Path, str]) -> None:
    folder = analysed[0]
    for name in ("motion_landscape", "latents", "clusters", "domains"):
        assert (folder / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        with Image.open(folder / "figures" / f"{name}.png") as picture:
            assert picture.width > 1200 and np.asarray(picture.convert("L")).std() > 5
    frames = [np.asarray(Image.open(path)) for path in sorted((folder / "axis1" / "frames").glob("frame_*.png"))]
    assert len(frames) == FRAMES and np.abs(frames[0].astype(int) - frames[-1]).mean() > 1
    with Image.open(folder / "axis1" / "movie.gif") as movie:
        # To and fro, the ends once.
        assert movie.n_frames == 2 * FRAMES - 2 and movie.info["loop"] == 0


def test_the_atomic_model_moves_with_the_points(finished_run: Path, model: Path, analysed: tuple[Path, str]) -> None:
    moved = gemmi.read_structure(str(analysed[0] / "axis1" / "model.cif"))
    assert len(moved) == FRAMES
    at = np.array([[atom.pos.tolist() for chain in one for residue in chain for atom in residue] for one in moved])
    start = gemmi.read_structure(str(model))
    rest = np.array([atom.pos.tolist() for chain in start[0] for residue in chain for atom in residue])
    grid = json.loads((finished_run / "grid.json").read_text())
    center = grid["box"] // 2 * grid["pixel_size"]
    z = np.load(analysed[0] / "axis1" / "path.npy")
    trained = load_half(Run.open(finished_run), 1)
    there = rest - center + trained.displacements(torch.from_numpy(z), torch.from_numpy(rest - center).float()).numpy()
    assert np.abs(at - center - there).max() < 2e-3


def test_domains_can_be_given(simulated: Path, finished_run: Path, command: Command, tmp_path: Path) -> None:
    outcome = command(
        "analyze", finished_run, "-o", tmp_path / "out", "--segments", simulated / "segments.mrc", "--frames", 2,
        "--no-movies",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    found = json.loads((tmp_path / "out" / "analysis.json").read_text())
    truth = read_truth(simulated / "truth.npz")
    assert set(found["domains"]["points"]) - {"0"} == {str(domain + 1) for domain in np.unique(truth.domain)}
    assert not list((tmp_path / "out").rglob("*.gif"))


def test_segments_elsewhere_are_refused(finished_run: Path, command: Command, tmp_path: Path) -> None:
    labels = np.full((32, 32, 32), -1.0, dtype=np.float32)
    options = ("--segments", tmp_path / "seg.mrc", "-o", tmp_path / "out")
    for part, pixel_size, identifier in (
        (labels, 6.0, "segments.off-map"),
        (labels, 5.0, "volume.pixel-size"),
        (labels[:24, :28], 6.0, "volume.box"),
    ):
        write_map(tmp_path / "seg.mrc", part, pixel_size)
        outcome = command("analyze", finished_run, *options)
        assert outcome.code == 3 and f"[{identifier}]" in outcome.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--frames", 1), 2, "[analyze.too-few]"),
        (("--model", "nowhere.pdb"), 3, "[atoms.missing]"),
        (("--model", "{empty}"), 3, "[analyze.empty-model]"),
        (("--model", "{cut}"), 3, "[atoms.unreadable]"),
    ],
)
def test_what_cannot_be_analysed(
    options: tuple[Any, ...], code: int, words: str, finished_run: Path, model: Path, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "empty.pdb").write_text("END\n")
    (tmp_path / f"cut{model.suffix}.gz").write_bytes(gzip.compress(model.read_bytes())[:-8])
    files = {"{empty}": tmp_path / "empty.pdb", "{cut}": tmp_path / f"cut{model.suffix}.gz"}
    given = [files.get(part, part) for part in options]
    outcome = command("analyze", finished_run, "-o", tmp_path / "out", "--frames", 2, "--no-movies", *given)
    assert outcome.code == code and words in outcome.error_line()


def test_without_gemmi_a_model_cannot_be_moved(
    finished_run: Path, model: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gemmi", None)
    options = ("--frames", 2, "--no-movies", "--model", model)
    outcome = command("analyze", finished_run, "-o", tmp_path / "out", *options)
    assert outcome.code == 4 and "dynaflex[atoms]" in outcome.err and "[atoms.no-gemmi]" in outcome.error_line()


# Halves that share a model


def test_halves_that_share_a_model_share_a_latent_space(
    brief_of: Callable[..., Any], command: Command, tmp_path: Path
) -> None:
    run, outcome = brief_of("flex", "--half-sets", "shared")
    assert outcome.code == 0, outcome.err
    assert command("analyze", run, "--frames", 2, "--no-movies").code == 0
    table = pd.read_csv(run / "analysis" / "particles.csv")
    covariance = np.cov(columns(table, "pca").T)
    assert np.abs(covariance - np.diag(covariance.diagonal())).max() < 1e-3 * covariance.max()
    (tmp_path / "all.txt").write_text("-99 -99\n99 -99\n99 99\n-99 99\n")
    options = ("--polygon", tmp_path / "all.txt", "--axes", "pca", "-o", tmp_path / "s.star")
    outcome = command("select", run, *options)
    assert outcome.code == 0 and "120 of 120" in outcome.out
