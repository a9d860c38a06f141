"""The latents belong to the model at the end of the training: no older one stands for it, and it can be made again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dynaflex.run.directory import Run
from faults.harness import Command
from survival import final


@pytest.fixture
def run(brief_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(brief_run, tmp_path / "run")
    return tmp_path / "run"


def spoil(run: Path, series: str) -> Path:
    """Cut the newest checkpoint of a series short; the folder of it."""
    path = Run(run).store.series(series)[-1]
    state = path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-1])
    return path


def test_no_older_model_answers_for_the_last(run: Path, command: Command) -> None:
    last = spoil(run, "half1")
    outcome = command("volumes", run, "--axis", 1, "--frames", 2, "-o", run / "volumes")
    assert outcome.code == 8 and outcome.error_line().endswith("[checkpoint.not-final]")
    assert str(last) in outcome.err and f"dynaflex resume {run}" in outcome.err
    assert not (run / "volumes").exists()
    told = command("doctor", run)
    assert told.code == 8 and f"damaged: {last.name}" in told.out and "what to do: dynaflex resume" in told.out


@pytest.mark.parametrize("series", ["half1", "half2", "latents2"])
def test_resuming_makes_the_end_of_a_training_again_as_it_was(run: Path, command: Command, series: str) -> None:
    before = {path: path.read_bytes() for path in (run / "checkpoints").rglob("*") if path.is_file()}
    results = final(run)
    spoil(run, series)
    assert command("resume", run, "--until", "reconstruct").code == 0
    assert {path: path.read_bytes() for path in before} == before and final(run) == results
    assert command("doctor", run).code == 0


def test_a_line_of_the_metrics_that_is_lost_or_changed_after_the_training_is_known(run: Path, command: Command) -> None:
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    for content in ("".join(lines[:-1]), "".join(lines).replace("0.", "1.", 1), ""):
        path.write_text(content)
        told = command("doctor", run)
        assert told.code == 8 and "damaged: metrics.jsonl" in told.out and "--accept-files" in told.out
    path.unlink()
    assert command("doctor", run, "--accept-files").code == 0
