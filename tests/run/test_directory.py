"""Laws of the run directory: one writer at a time, and checkpoints that are whole or not there."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import dynaflex
from dynaflex.errors import DamagedCheckpointError, EnvironmentFault, InputError, RunBusyError, UsageError
from dynaflex.io import durable
from dynaflex.run.directory import Run
from dynaflex.run.store import KEEP
from survival import CONTEXT


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", "dynamight", {"seed": 3}, {"particles": "/data/p.star"})


def save(run: Run, step: int, name: str = "half1") -> None:
    run.save_checkpoint(name, step, {"x": torch.full((3,), float(step))}, {"step": step})


def lock_of(pid: int, host: str) -> str:
    return json.dumps({"pid": pid, "host": host, "since": "2024-01-01 00:00:00"})


def dead_process() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def test_a_new_run_says_how_it_was_made(run: Run) -> None:
    assert Run.open(run.path).config() == {"method": "dynamight", "seed": 3}
    provenance = run.read_json("provenance.json")
    assert provenance["version"] == dynaflex.__version__
    assert provenance["inputs"] == {"particles": "/data/p.star"}
    assert provenance["command"] == " ".join(sys.argv)
    assert run.maps.is_dir() and run.checkpoints.is_dir()


def test_provenance_grows_and_a_warning_is_told_once(run: Run) -> None:
    run.write_provenance(counts={"used": 7})
    with run.locked():
        for message in ("first", "second", "first"):
            run.warn(message)
    provenance = run.read_json("provenance.json")
    assert provenance["counts"] == {"used": 7} and provenance["inputs"] == {"particles": "/data/p.star"}
    assert provenance["warnings"] == ["first", "second"]
    assert "warning: second" in (run.path / "log.txt").read_text()


def test_a_run_is_not_started_over(run: Run) -> None:
    with pytest.raises(RunBusyError, match="dynaflex resume"):
        Run.create(run.path, "dynamight", {}, {})
    assert run.config()["seed"] == 3


def create(path: str, barrier: Any, outcomes: Any) -> None:
    """Start a run as several others do at the same time, and say how that went."""
    barrier.wait()
    try:
        Run.create(Path(path), "dynamight", {"seed": os.getpid()}, {})
        outcomes.put(os.getpid())
    except RunBusyError:
        outcomes.put(0)


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_of_eight_starters_one_makes_the_run_and_the_others_do_not_touch_it(tmp_path: Path, rounds: int) -> None:
    for number in range(rounds):
        barrier, outcomes = CONTEXT.Barrier(8), CONTEXT.SimpleQueue()
        path = tmp_path / str(number)
        starters = [CONTEXT.Process(target=create, args=(str(path), barrier, outcomes)) for _ in range(8)]
        for starter in starters:
            starter.start()
        *others, winner = sorted(outcomes.get() for _ in starters)
        for starter in starters:
            starter.join()
        assert others == [0] * 7 and winner > 0
        assert Run.open(path).config()["seed"] == winner


@pytest.mark.parametrize("there", ["particles.star", "maps/map.mrc", "checkpoints/half1_00001/state.json"])
def test_other_files_are_not_overwritten_by_a_new_run(tmp_path: Path, there: str) -> None:
    path = tmp_path / there
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("somebody's")
    with pytest.raises(UsageError, match=there.partition("/")[0]):
        Run.create(tmp_path, "dynamight", {}, {})
    assert path.read_text() == "somebody's" and not (tmp_path / "config.json").exists()


def test_what_a_start_that_died_left_is_no_run_and_does_not_stop_the_next(tmp_path: Path) -> None:
    Run.create(tmp_path, "dynamight", {"seed": 1}, {})
    (tmp_path / "config.json").unlink()
    assert Run.create(tmp_path, "dynamight", {"seed": 2}, {}).config()["seed"] == 2


def test_what_dead_processes_left_is_cleared_up(run: Run) -> None:
    save(run, 1)
    (run.checkpoints / "half1_00002.writing").mkdir()
    (run.checkpoints / "half1_00001").rename(run.checkpoints / "half1_00001.old")
    (run.maps / ".map.mrc.77.abcd.tmp").touch()
    with run.locked():
        assert sorted(path.name for path in run.checkpoints.iterdir()) == ["half1_00001"]
        assert list(run.maps.iterdir()) == []
    assert run.require_checkpoint("half1")[1] == {"step": 1}


def test_a_line_that_was_cut_short_spoils_no_other(run: Run) -> None:
    run.metrics.record({"half": 1, "epoch": 1})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"half": 1, "ep')
    run.metrics.record({"half": 1, "epoch": 2})
    run.metrics.forget(2, 0)
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]


def test_unwritable_and_missing_runs_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault) as fault:
        Run.create(tmp_path / "file" / "run", "dynamight", {}, {})
    assert fault.value.exit_code == 4
    with pytest.raises(InputError) as missing:
        Run.open(tmp_path / "nothing")
    assert missing.value.exit_code == 3


def test_a_lock_keeps_others_out_and_is_given_back(run: Run) -> None:
    with run.locked():
        with pytest.raises(RunBusyError, match=str(os.getpid())) as busy, Run.open(run.path).locked():
            pass
        assert (run.path / "lock.json").exists(), "who is refused must not take the lock away"
    assert busy.value.exit_code == 6
    with pytest.raises(KeyError), run.locked():
        raise KeyError
    with run.locked():
        pass


def test_a_lock_on_another_host_is_respected(run: Run) -> None:
    """Whether its process lives cannot be seen from here, even where no process of ours has that number."""
    (run.path / "lock.json").write_text(lock_of(dead_process(), socket.gethostname() + ".elsewhere"))
    with pytest.raises(RunBusyError, match="elsewhere"), run.locked():
        pass


def test_the_lock_of_a_dead_process_is_taken_over(run: Run) -> None:
    (run.path / "lock.json").write_text(lock_of(dead_process(), socket.gethostname()))
    with run.locked():
        assert json.loads((run.path / "lock.json").read_text())["pid"] == os.getpid()


def test_the_newest_checkpoint_comes_back(run: Run) -> None:
    assert run.load_checkpoint("half1") is None
    tensors = {"a": torch.randn(4, 5)[:, ::2], "b": torch.arange(3)}
    run.save_checkpoint("half1", 9, {"a": torch.zeros(1)}, {})
    run.save_checkpoint("half1", 10, tensors, {"loss": 0.1 + 0.2, "nested": {"rises": 3}})
    loaded, state = run.require_checkpoint("half1")
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert state == {"loss": 0.1 + 0.2, "nested": {"rises": 3}}


def test_only_the_last_checkpoints_of_a_series_are_kept(run: Run) -> None:
    save(run, 1, "latents1")
    for step in range(98, 103):
        save(run, step)
    kept = sorted(path.name for path in run.checkpoints.iterdir())
    assert kept == [f"half1_{step:05d}" for step in range(103 - KEEP, 103)] + ["latents1_00001"]


@pytest.mark.parametrize("file", ["state.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(run: Run, file: str, damage: str) -> None:
    save(run, 1)
    save(run, 2)
    victim = run.checkpoints / "half1_00002" / file
    if damage == "flip":
        # One bit of the manifest may still be JSON: its last character that is not white space closes it.
        victim.write_bytes(victim.read_bytes().rstrip())
        flip_a_byte(victim)
    elif damage == "cut":
        victim.write_bytes(b"{}" if file == "manifest.json" else victim.read_bytes()[:-10])
    else:
        victim.unlink()
    tensors, state = run.require_checkpoint("half1")
    assert state == {"step": 1} and torch.equal(tensors["x"], torch.ones(3))
    (warning,) = run.read_json("provenance.json")["warnings"]
    assert warning.startswith("checkpoint half1_00002: ") and warning.endswith("; it was not used, half1_00001 was")


def test_without_a_whole_checkpoint_the_run_cannot_go_on(run: Run) -> None:
    for step in (1, 2):
        save(run, step)
        flip_a_byte(run.checkpoints / f"half1_{step:05d}" / "state.safetensors")
    with pytest.raises(DamagedCheckpointError) as damaged:
        run.load_checkpoint("half1")
    assert damaged.value.exit_code == 8


def test_an_untrained_run_is_told_from_a_damaged_one(run: Run) -> None:
    with pytest.raises(UsageError) as untrained:
        run.require_checkpoint("half1")
    assert untrained.value.identifier == "run.untrained"


def test_a_checkpoint_whose_writing_is_cut_short_was_never_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save(run, 1)

    def crash(path: Path, content: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_bytes", crash)
        with pytest.raises(KeyboardInterrupt):
            save(run, 2)
    assert run.require_checkpoint("half1")[1] == {"step": 1}
    save(run, 2)
    assert run.require_checkpoint("half1")[1] == {"step": 2}
    assert not list(run.checkpoints.glob("*.writing"))


def test_metrics_of_repeated_epochs_are_forgotten(run: Run) -> None:
    for half, epoch in ((1, 1), (1, 2), (2, 1), (2, 2), (2, 3)):
        run.metrics.record({"half": half, "epoch": epoch})
    run.metrics.forget(2, 1)
    left = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["half"], line["epoch"]) for line in left] == [(1, 1), (1, 2), (2, 1)]
