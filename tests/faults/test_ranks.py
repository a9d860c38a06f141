"""Several processes on a half: killed, stopped or left alone, a run comes to its end, on as many as there are then."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from dynaflex.run.directory import Run
from survival import brief, ended, start, until

RANKS = ("--device", "cpu", "--gpus", "0,1,2", "--threads", 1)
AGREED = ("data_loss", "geometry", "kl", "log_likelihood")


def lines(run: Path) -> dict[tuple[int, int], dict[str, Any]]:
    return {(one["half"], one["epoch"]): one for one in Run.open(run).metrics.lines()}


def workers_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_whole(run: Path) -> bool:
    store = Run.open(run).store
    return all(store.fault(path) is None for name in store.names() for path in store.series(name))


def test_a_run_on_ranks_is_that_of_one_process(few: Path, tmp_path: Path) -> None:
    one, three = tmp_path / "one", tmp_path / "three"
    short = ("--epochs", 2)
    assert ended(start(*brief(few, one, "--threads", 1, *short), says=tmp_path / "says")) == 0
    assert ended(start(*brief(few, three, *RANKS, *short), says=tmp_path / "says")) == 0
    assert "3 processes for one half after the other" in (tmp_path / "says").read_text()
    for place, figures in lines(one).items():
        for name in AGREED:
            assert lines(three)[place][name] == pytest.approx(figures[name], rel=1e-4), (place, name)
    same_maps(one, three)
    assert not Run.open(three).files.faults()
    for path in three.glob("maps/*_half[12].mrc"):
        path.unlink()
    assert ended(start("reconstruct", three, *RANKS, says=tmp_path / "says")) == 0
    same_maps(one, three)


def same_maps(one: Path, other: Path) -> None:
    for name in ("map_half1", "map_half2", "rigid_half1", "rigid_half2"):
        alone, together = (np.array(mrcfile.read(run / "maps" / f"{name}.mrc")) for run in (one, other))
        assert np.linalg.norm(together - alone) < 1e-4 * np.linalg.norm(alone), name


@pytest.mark.parametrize("options", [("--threads", 1), ("--device", "cpu", "--gpus", "0,1", "--threads", 1)])
def test_a_rank_that_is_killed_ends_all_and_the_run_goes_on_with_as_many_as_there_are(
    few: Path, tmp_path: Path, options: tuple[object, ...]
) -> None:
    run, says = tmp_path / "run", tmp_path / "says"
    process = start(*brief(few, run, *RANKS, "--until", "train"), says=says)
    assert until(lambda: any(run.glob("checkpoints/half1_*")), process)
    everyone = workers_of(process.pid or 0)
    began = time.monotonic()
    os.kill(everyone[1], signal.SIGKILL)
    assert ended(process) == 5 and time.monotonic() - began < 60.0
    assert not any(Path(f"/proc/{pid}").exists() for pid in everyone)
    assert "SIGKILL" in says.read_text() and "Traceback" not in says.read_text()
    assert is_whole(run)
    assert ended(start("resume", run, "--until", "train", *options, says=says)) == 0, says.read_text()
    assert set(lines(run)) == {(half, epoch) for half in (1, 2) for epoch in range(1, 6)}
    assert is_whole(run)


def test_a_stop_is_that_of_all_ranks_after_the_same_update(few: Path, tmp_path: Path) -> None:
    run, says = tmp_path / "run", tmp_path / "says"
    process = start(*brief(few, run, "--epochs", 4000, *RANKS), says=says)
    assert until(lambda: any(run.glob("checkpoints/half1_*")), process)
    os.kill(process.pid or 0, signal.SIGTERM)
    assert ended(process) == 75
    assert says.read_text().splitlines()[-1].startswith("stopped by SIGTERM; dynaflex resume")
    assert is_whole(run) and not (run / "lock.json").exists()


def test_processes_that_a_scheduler_has_started_are_ranks(few: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    run = tmp_path / "run"
    typed = [str(word) for word in brief(few, run, "--device", "cpu", "--epochs", 1, "--until", "train")]
    paths = os.pathsep.join(path for path in sys.path if path)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "dynaflex", *typed],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ, **meeting, "PYTHONPATH": paths, "SLURM_PROCID": str(rank), "SLURM_STEP_NUM_TASKS": "3",
                "SLURM_LOCALID": str(rank), "SLURM_STEP_TASKS_PER_NODE": "3", "OMP_NUM_THREADS": "1",
            },
        )
        for rank in range(3)
    ]  # fmt: skip
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert "3 processes for one half after the other" in said[0] and said[0].splitlines()[-1] == f"done: {run}"
    assert said[1:] == ["", ""]
    assert set(lines(run)) == {(1, 1), (2, 1)} and is_whole(run)
