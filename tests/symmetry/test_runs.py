"""A run with a symmetry, from its table to its maps: one unit moves, and every copy is accounted for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dynaflex as df
from dynaflex.data.particles import read_particles
from dynaflex.grid import Grid
from dynaflex.io.mrc import read_map, write_map
from dynaflex.report.facts import summary
from dynaflex.rotations import point_group
from dynaflex.symmetry.asymmetric_unit import self_correlation, turned
from dynaflex.symmetry.expansion import expanded

GRID = Grid(32, 6.0)
C3 = point_group("C3")


@pytest.fixture(scope="module", params=["flex", "dynamight"])
def run(request: Any, trimers: Path, made_once: Callable[..., Path], command: Callable[..., Any]) -> Path:
    """A short run of each method; what it learned does not matter here."""

    def make(folder: Path) -> None:
        arguments = (
            request.param,
            trimers / "particles.star",
            "--map",
            trimers / "consensus.mrc",
            "-o",
            folder / "run",
        )
        outcome = command(
            *arguments, "--symmetry", "c3", "--epochs", 4, "--skip-check", "--until", "reconstruct", "--threads", 1
        )
        assert outcome.code == 0, outcome.err

    return made_once(f"trimers_{request.param}", make) / "run"


def test_every_copy_has_latents_and_says_whose_it_is(run: Path) -> None:
    with np.load(run / "latents.npz") as latents:
        assert (latents["index"] == np.arange(180)).all()
        assert (latents["particle"] == np.repeat(np.arange(60), 3)).all()
        assert (latents["copy"] == np.tile(np.arange(3), 60)).all()
        halves = latents["half"].reshape(60, 3)
        assert (halves == halves[:, :1]).all()
        mean = latents["mean"].reshape(60, 3, -1)
    assert np.abs(mean - mean[:, :1]).max() > 0.1


def test_the_table_of_the_run_is_the_expanded_one(run: Path, trimers: Path) -> None:
    shutil.copy(run / "particles.star", trimers / "of_run.star")
    found, meant = (
        read_particles(trimers / "of_run.star"),
        expanded(read_particles(trimers / "particles.star"), "C3", []),
    )
    assert torch.allclose(found.pose.rotation, meant.pose.rotation, atol=1e-6)
    assert (found.image == meant.image).all() and (found.half == meant.half).all()


@pytest.mark.parametrize("name", ["map_half1", "rigid_half2", "map"])
def test_maps_have_the_symmetry(run: Path, name: str) -> None:
    volume = torch.from_numpy(read_map(run / "maps" / f"{name}.mrc").data)
    assert self_correlation(volume, GRID, C3, 20.0) > 0.97


def test_one_unit_moves_and_the_others_keep_still(run: Path) -> None:
    unit = torch.from_numpy(read_map(run / "maps" / "unit.mrc").data)
    inside = torch.from_numpy(read_map(run / "maps" / "mask.mrc").data) > 0.9
    points = GRID.points().view(32, 32, 32, 3)
    moved, still = (points[inside & where].numpy()[::7] for where in (unit > 0.95, unit < 0.05))
    opened = df.open(run)
    spread = [np.linalg.norm(opened.displacements(part, [0, 1, 2]), axis=2).max() for part in (moved, still)]
    assert spread[0] > 0.01 and spread[1] < 0.05 * spread[0]


def test_how_many_particles_there_are_is_said(run: Path) -> None:
    log = (run / "log.txt").read_text()
    assert "60 particles used, 0 excluded; c3: 180 copies, one for each unit" in log


def test_a_run_is_reconstructed_with_its_own_symmetry_only(
    run: Path, command: Callable[..., Any], tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    refused = command("reconstruct", tmp_path / "run", "--symmetry", "C2")
    assert refused.code == 2 and "reconstruct.other-symmetry" in refused.err


@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        (("--symmetry", "Q7"), 2, "symmetry.unknown"),
        (("--symmetry", "C4"), 3, "symmetry.map"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    trimers: Path, command: Callable[..., Any], tmp_path: Path, options: tuple[str, str], code: int, word: str
) -> None:
    outcome = command(
        "flex", trimers / "particles.star", "--map", trimers / "consensus.mrc", "-o", tmp_path / "run", *options
    )
    assert outcome.code == code and word in outcome.error_line()
    assert not (tmp_path / "run").exists()


def test_a_mask_of_one_unit_says_which_one_moves(trimers: Path, command: Callable[..., Any], tmp_path: Path) -> None:
    """Another one than would be found, all of whose voxels are within the mask that was made for the maps."""
    files = (trimers / "particles.star", "--map", trimers / "consensus.mrc")
    brief = ("--symmetry", "C3", "--until", "prepare", "--skip-check")
    assert command("flex", *files, "-o", tmp_path / "found", *brief).code == 0
    found = read_map(tmp_path / "found" / "maps" / "unit.mrc")
    whole = read_map(trimers / "mask.mrc").data
    second = turned(torch.from_numpy(found.data), C3[1]).numpy() * whole
    write_map(tmp_path / "one.mrc", second.astype(np.float32), 6.0)
    assert command("flex", *files, "--mask", tmp_path / "one.mrc", "-o", tmp_path / "given", *brief).code == 0
    given = read_map(tmp_path / "given" / "maps" / "unit.mrc").data
    inside = whole > 0.9
    assert np.abs(given - second)[inside].mean() < 0.05 < np.abs(given - found.data)[inside].mean()
    assert "one unit, within its mask" in (tmp_path / "given" / "log.txt").read_text()
    assert "one unit, found in the map" in (tmp_path / "found" / "log.txt").read_text()


def test_an_encoder_cannot_tell_copies_apart(trimers: Path, command: Callable[..., Any], tmp_path: Path) -> None:
    outcome = command(
        "dynamight", trimers / "particles.star", "--map", trimers / "consensus.mrc", "-o", tmp_path / "run",
        "--symmetry", "C3", "--latents", "encoder", "--skip-check",
    )  # fmt: skip
    assert outcome.code == 2 and "symmetry.encoder" in outcome.error_line()


@pytest.mark.parametrize("expanded_before", [False, True])
def test_the_report_counts_particles_and_not_their_copies(expanded_before: bool) -> None:
    counts = {"table": 180 if expanded_before else 183, "used": 180, "images": 60}
    counts |= {"excluded": [] if expanded_before else [{"row": row, "reason": "why"} for row in range(3)]}
    tile, (sentence, mismatch) = summary.particles(counts), summary.counts_sentence(counts)
    assert (tile.value, mismatch) == ("60", None) and "180 copies" in tile.remark
    assert f"{0 if expanded_before else 1} excluded" in tile.remark and "60 particles" in sentence
    alone = summary.particles({"table": 60, "used": 60, "excluded": []})
    assert (alone.value, alone.remark) == ("60", "used; 0 excluded")
