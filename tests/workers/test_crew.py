"""Laws of several processes on a half: who they are, how they are divided, and that none outlives another's fault."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from dynaflex.errors import EnvironmentFault, InputError, ResourceError, UsageError
from dynaflex.run.directory import Run
from dynaflex.run.stop import Stop
from dynaflex.workers.crew import LocalCrew, Started, listed, started
from dynaflex.workers.crew import crew_of as crew_for
from dynaflex.workers.halves import Halves
from workers.tasks import added_up, alive, dying, faulty, when_all

CPU = torch.device("cpu")


def crew_of(count: int, folder: Path) -> LocalCrew:
    return LocalCrew(range(count), "cpu", str(folder))


def test_an_even_number_is_divided_between_the_halves_and_all_work_on_one(run: Run, tmp_path: Path) -> None:
    with Halves(run, Stop(), CPU, crew_of(4, tmp_path)) as halves:
        both = halves.each(added_up, (1, 2), 0)
        (one,) = halves.each(added_up, (2,), 0).values()
    assert {half: said[:2] for half, said in both.items()} == {1: (1, 2), 2: (2, 2)}
    assert one[:2] == (2, 4)
    pids = [set(said[2]) for said in both.values()]
    assert len(pids[0] | pids[1]) == 4 and set(one[2]) == pids[0] | pids[1], "the same stay for what comes next"
    assert os.getpid() not in one[2]


def test_an_odd_number_works_on_one_half_after_the_other(run: Run, tmp_path: Path) -> None:
    with Halves(run, Stop(), CPU, crew_of(3, tmp_path)) as halves:
        both = halves.each(added_up, (1, 2), 0)
    assert [said[:2] for said in both.values()] == [(1, 3), (2, 3)]


def test_a_fault_of_one_is_that_fault_and_ends_all(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no-such"), Halves(run, Stop(), CPU, crew_of(3, tmp_path)) as halves:
        halves.each(partial(faulty, run.path), (1,), 0)
    assert not any(alive(run.path / f"began{rank}") for rank in range(3))


def test_one_that_is_killed_is_told_and_ends_all(run: Run, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(ResourceError) as caught, Halves(run, Stop(), CPU, crew_of(3, tmp_path)) as halves:
        halves.each(partial(dying, run.path), (1,), 0)
    for words in ("half 1", "SIGKILL", "--gpus", "dynaflex resume", "[half.gone]"):
        assert words in str(caught.value)
    when_all(run.path, 3)
    assert not any(alive(run.path / f"began{rank}") for rank in range(3))
    assert time.monotonic() - began < 60.0


TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
SRUN = {
    "SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1", "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
}  # fmt: skip
MEETING = {"MASTER_ADDR": "node1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize("by", [TORCHRUN, SRUN, {**SRUN, **TORCHRUN}])
def test_a_scheduler_says_who_one_is(by: dict[str, str]) -> None:
    assert started({**by, **MEETING}) == Started(5, 8, 1, 4, "node1", 29500)


@pytest.mark.parametrize(
    "alone",
    [{}, {"RANK": "0", "WORLD_SIZE": "1"}, {"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, {"SLURM_STEP_NUM_TASKS": "1"}],
)
def test_one_process_is_alone_also_in_the_script_of_a_job_of_many(alone: dict[str, str]) -> None:
    assert started(alone) is None


@pytest.mark.parametrize("by", [TORCHRUN, SRUN])
def test_many_that_cannot_meet_are_refused_before_they_spoil_a_run(by: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="MASTER_ADDR") as caught:
        started(by)
    assert caught.value.identifier == "ranks.no-meeting"
    assert caught.value.fix is not None and "torchrun" in caught.value.fix


def test_a_rank_that_does_not_come_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("dynaflex.workers.crew._CALLED", 0.5)
    with pytest.raises(EnvironmentFault) as caught, crew_for(None, "cpu"):
        pass
    assert caught.value.identifier == "ranks.missing"
    with pytest.raises(UsageError) as usage, crew_for("0,1", "cpu"):
        pass
    assert usage.value.identifier == "gpus.twice"


def test_a_list_of_gpus_is_numbers_each_once() -> None:
    assert listed("0,2, 5") == [0, 2, 5]
    for wrong in ("", "a", "0,,1", "0,0", "-1", "0-3"):
        with pytest.raises(UsageError) as caught:
            listed(wrong)
        assert caught.value.identifier == "gpus.list"


@pytest.mark.parametrize("said", [2, [], [0, 0], [0.5], [-1], ["cuda:1"]])
def test_python_names_gpus_by_their_numbers(said: Any) -> None:
    assert listed([0, 2]) == listed((0, 2)) == [0, 2]
    with pytest.raises(UsageError) as caught:
        listed(said)
    assert caught.value.identifier == "gpus.list"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there are GPUs here")
@pytest.mark.parametrize(
    ("options", "code", "fix"),
    [
        (("--gpus", "0,1", "--device", "cuda"), 4, "[gpus.missing]"),
        (("--gpus", "0,1"), 4, "--device cpu, where each number is a process on the CPU [gpus.missing]"),
        (("--gpus", "0,0"), 2, "--gpus 0,1 [gpus.list]"),
        (("--gpus", "0,1", "--device", "cuda:1"), 2, "leave out --device [gpus.device]"),
    ],
)
def test_gpus_that_are_not_there_are_told_before_anything_is_made(
    few: Path, tmp_path: Path, command: Callable[..., object], options: tuple[str, ...], code: int, fix: str
) -> None:
    files = (few / "particles.star", "--map", few / "consensus.mrc", "-o", tmp_path / "run")
    outcome = command("flex", *files, *options)
    assert outcome.code == code and fix in outcome.error_line()  # type: ignore[attr-defined]
    assert not (tmp_path / "run").exists()
