"""Laws of repetition: equal seeds, stops and resumptions, and a half that does not see the other."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaflex.data.particles import read_particles
from dynaflex.io.mrc import ImageStack, write_stack
from dynaflex.io.star import read_star, write_star
from dynaflex.run.metrics import Metrics
from written import latents_of, load_json

Brief = Callable[..., tuple[Path, Any]]
Differing = Callable[[Path, Path, int], set[str]]


@pytest.fixture(scope="session", params=["dynamight", "flex"])
def brief(request: pytest.FixtureRequest, brief_of: Brief) -> Brief:
    """A brief run of each method: the laws are the same."""
    return partial(brief_of, request.param)


@pytest.fixture(scope="session")
def brief_run(brief: Brief) -> Path:
    run, outcome = brief()
    assert outcome.code == 0, outcome.err
    return run


def test_the_run_can_be_read_as_particles_again_where_halves_were_drawn_and_one_was_excluded(
    few: Path, tmp_path: Path, brief: Brief
) -> None:
    data = tmp_path / "data"
    shutil.copytree(few, data)
    star = read_star(few / "particles.star")
    table = star.blocks["particles"].drop(columns="rlnRandomSubset")
    table.loc[7, "rlnDefocusU"] = "nan"
    star.blocks["particles"] = table
    write_star(star, data / "particles.star")
    run, outcome = brief("--epochs", 1, data=data)
    assert outcome.code == 0, outcome.err
    counts = load_json(run / "provenance.json")["counts"]
    assert (counts["table"], counts["used"], [item["row"] for item in counts["excluded"]]) == (120, 119, [7])
    latents = latents_of(run)
    assert 7 not in latents["index"] and len(latents["index"]) == 119
    written = read_star(run / "particles.star").blocks["particles"]
    assert len(written) == 120 and written.loc[7, "dynaflexLatent1"] == "nan"
    again = read_particles(run / "particles.star", data)
    assert np.array_equal(again.rows, latents["index"]) and np.array_equal(again.half, latents["half"])


def test_equal_seeds_give_equal_bytes_and_others_do_not(brief_run: Path, brief: Brief, differing: Differing) -> None:
    again, other = brief()[0], brief("--seed", 1)[0]
    for half in (1, 2):
        assert differing(brief_run, again, half) == set()
    for name in ("fsc.json", "model_fsc.json", "motion.npz", "latents.npz", "particles.star", "maps/map.mrc"):
        assert (brief_run / name).read_bytes() == (again / name).read_bytes(), name
    assert {"maps/map_half1.mrc", "mean"} <= differing(brief_run, other, 1)


def test_a_run_that_was_stopped_and_resumed_is_the_run_that_was_not(
    brief_run: Path,
    brief: Brief,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    differing: Differing,
) -> None:
    """Five epochs of half 1, then five of half 2; each stop falls into the epoch after so many."""
    epochs_before, recorded = (3, 5, 7), 0
    record = Metrics.record

    def interrupting(metrics: Metrics, values: dict[str, Any]) -> None:
        nonlocal recorded
        record(metrics, values)
        recorded += 1
        if recorded in epochs_before:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Metrics, "record", interrupting)
    run = tmp_path / "run"
    for number in range(len(epochs_before)):
        _, outcome = brief(*(["--resume"] if number else []), out=run)
        assert outcome.code == 75 and "resume" in outcome.err
        assert not (run / "maps" / "map.mrc").exists() and not (run / "lock.json").exists()
    _, outcome = brief("--resume", out=run)
    assert outcome.code == 0, outcome.err
    assert recorded == 10, "no whole epoch is trained twice"
    for half in (1, 2):
        assert differing(brief_run, run, half) == set()
    for name in ("fsc.json", "motion.npz", "latents.npz", "particles.star", "maps/map.mrc"):
        assert (brief_run / name).read_bytes() == (run / name).read_bytes(), name


def test_a_run_is_not_resumed_with_other_particles(few: Path, tmp_path: Path, brief: Brief) -> None:
    data = tmp_path / "data"
    shutil.copytree(few, data)
    run, outcome = brief("--until", "train", "--epochs", 1, data=data)
    assert outcome.code == 0, outcome.err
    shutil.rmtree(run / "checkpoints" / "latents1_00000")
    star = read_star(data / "particles.star")
    halves = star.blocks["particles"]["rlnRandomSubset"]
    star.blocks["particles"]["rlnRandomSubset"] = halves.map({"1": "2", "2": "1"})
    write_star(star, data / "particles.star")
    _, outcome = brief("--resume", "--until", "train", "--epochs", 1, data=data, out=run)
    assert outcome.code == 8 and "other particles" in outcome.err


def test_half_1_does_not_see_half_2(
    few: Path, brief_run: Path, tmp_path: Path, brief: Brief, differing: Differing
) -> None:
    """With every image of half 2 replaced by noise, every file of half 1 stays as it is."""
    data = tmp_path / "data"
    shutil.copytree(few, data)
    stack = ImageStack.open(few / "particles.mrcs")
    images = stack.read(np.arange(stack.n_images))
    second = read_particles(few / "particles.star").half == 2
    images[second] = np.random.default_rng(0).normal(size=images[second].shape)
    write_stack(data / "particles.mrcs", images, 6.0)
    run, outcome = brief(data=data)
    assert outcome.code == 0, outcome.err
    assert differing(brief_run, run, 1) == set()
    assert {"maps/map_half2.mrc", "maps/rigid_half2.mrc", "maps/model_half2.mrc", "mean"} <= differing(
        brief_run, run, 2
    )


def test_black_particles_are_refused_or_inverted(
    few: Path, brief_run: Path, tmp_path: Path, brief: Brief, differing: Differing
) -> None:
    data = tmp_path / "data"
    shutil.copytree(few, data)
    stack = ImageStack.open(few / "particles.mrcs")
    write_stack(data / "particles.mrcs", -stack.read(np.arange(stack.n_images)), 6.0)
    _, outcome = brief(data=data)
    assert outcome.code == 3 and "--invert-contrast" in outcome.err
    inverted, outcome = brief("--invert-contrast", data=data)
    assert outcome.code == 0, outcome.err
    assert differing(brief_run, inverted, 1) == set()
