"""Laws of runs with a cache: their results are those of runs without, and their images are read once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynaflex.data.image_files import ImageFiles
from dynaflex.prepare import memory
from dynaflex.results import maps
from dynaflex.results.reopen import remember, reopened
from dynaflex.run.directory import Run

Brief = Callable[..., tuple[Path, Any]]
SMALLER = ("--train-box", 24, "--threads", 1)
RESULTS = ("latents.npz", "motion.npz", "fsc.json", "support.json", "maps/map.mrc", "maps/rigid_half2.mrc")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The images that are read from stacks."""
    found, from_disk = [], ImageFiles.read

    def counted(files: ImageFiles, index: np.ndarray, *more: Any) -> Any:
        found.extend(index.tolist())
        return from_disk(files, index, *more)

    monkeypatch.setattr(ImageFiles, "read", counted)
    return found


@pytest.fixture(params=["flex", "dynamight"])
def without(request: pytest.FixtureRequest, brief_of: Brief, made_once: Callable[..., Path]) -> tuple[str, Path]:
    """A method, and a brief run of it whose images are in memory."""

    def make(folder: Path) -> None:
        _, outcome = brief_of(request.param, *SMALLER, "--cache", "off", out=folder / "run")
        assert outcome.code == 0, outcome.err

    return request.param, made_once(f"without_cache_{request.param}", make) / "run"


def test_results_are_the_same_to_the_byte_and_stacks_are_read_once(
    without: tuple[str, Path], brief_of: Brief, tmp_path: Path, read: list[int]
) -> None:
    method, plain = without
    count = len(np.load(plain / "latents.npz")["index"])
    options = (*SMALLER, "--cache", tmp_path / "cache", "--skip-check")
    run, outcome = brief_of(method, *options)
    assert outcome.code == 0, outcome.err
    assert [name for name in RESULTS if (run / name).read_bytes() != (plain / name).read_bytes()] == []
    assert sorted(read) == list(range(count)), "once each, while the cache was made"
    read.clear()
    outcome = brief_of(method, *options, "--epochs", 1, "--until", "train")[1]
    assert outcome.code == 0 and not read, "another run on the same images needs no pass"


def test_left_to_decide_images_that_fill_memory_are_on_the_disk_of_the_run_until_it_is_done(
    without: tuple[str, Path], brief_of: Brief, command: Callable[..., Any], tmp_path: Path, read: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    method, plain = without
    monkeypatch.setattr(memory, "available_memory", lambda: 100_000)
    run, outcome = brief_of(method, *SMALLER, "--until", "train", "--skip-check", out=tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert (run / "cache").is_dir() and "GB in" in (run / "log.txt").read_text()
    # What a cache was begun for is gone on with from there, whatever memory there is now.
    monkeypatch.setattr(memory, "available_memory", lambda: 10**12)
    read.clear()
    outcome = command("resume", run, "--until", "reconstruct")
    assert outcome.code == 0 and not read, outcome.err
    assert not (run / "cache").exists()
    assert [name for name in RESULTS if (run / name).read_bytes() != (plain / name).read_bytes()] == []


def test_a_run_remembers_its_folder_and_one_that_is_gone_is_made_again(
    brief_of: Brief, command: Callable[..., Any], tmp_path: Path, read: list[int]
) -> None:
    options = (*SMALLER, "--cache", tmp_path / "cache", "--skip-check", "--epochs", 1)
    run, outcome = brief_of("flex", *options, "--until", "train")
    assert outcome.code == 0, outcome.err
    assert json.loads((run / "provenance.json").read_text())["cache"] == str(tmp_path / "cache")
    shutil.rmtree(next((run / "checkpoints").glob("half2_*")))
    shutil.rmtree(next((run / "checkpoints").glob("latents2_*")))
    read.clear()
    assert command("resume", run, "--until", "train").code == 0 and not read
    shutil.rmtree(next((run / "checkpoints").glob("latents2_*")))
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    assert command("resume", run, "--until", "train").code == 0


def test_maps_are_made_again_from_a_cache(without: tuple[str, Path], tmp_path: Path, read: list[int]) -> None:
    run = Run.open(Path(shutil.copytree(without[1], tmp_path / "run")))
    with run.locked():
        inputs = reopened(run)
        remember(run, inputs)
        for cache in ("auto", "off"):
            assert memory.ready(cache, run, inputs, make=True) is inputs
        kept = str(tmp_path / "cache")
        assert memory.ready(kept, run, inputs, make=False).full_imaging.stored is None, "nor made for a few particles"
        for passes in (120, 0):
            read.clear()
            maps.reconstruct_run(run, memory.ready(kept, run, inputs, make=True), torch.device("cpu"))
            assert len(read) == passes
            assert (run.maps / "map.mrc").read_bytes() == (without[1] / "maps/map.mrc").read_bytes()
