"""Rows D of the list: disks that are full, read-only, slow to fail, or gone."""

from __future__ import annotations

import errno
import os
import shutil
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from dynaflex import machine
from dynaflex.checking import image_checks
from dynaflex.io import durable
from dynaflex.run.directory import Run
from dynaflex.run.metrics import Metrics
from dynaflex.training import loop
from faults.harness import Command, Fault, Toy, prove
from survival import brief, ended, start, until

Usage = namedtuple("Usage", "total used free")


@contextmanager
def disk_that(fails: Callable[[Path], bool], number: int) -> Iterator[list[Path]]:
    """Syncing a file fails with an error number where ``fails(path)``; the paths that failed are collected."""
    failed: list[Path] = []
    write = durable.write_bytes

    def limited(path: Path | str, content: bytes) -> None:
        if fails(Path(path)):
            failed.append(Path(path))
            with patch.object(os, "fsync", side_effect=OSError(number, os.strerror(number))):
                write(path, content)
        else:
            write(path, content)

    with patch.object(durable, "write_bytes", limited):
        yield failed


def epoch(number: int) -> Callable[[Path], bool]:
    """The checkpoint of half 1 after so many epochs."""
    return lambda path: f"half1_{number:05d}" in str(path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE])
def test_d_01_d_03_a_checkpoint_that_cannot_be_written_does_not_stop_the_training(
    toy: Toy, command: Command, number: int
) -> None:
    with disk_that(epoch(2), number) as failed:
        outcome = command(*toy.train("--epochs", 3))
    assert failed and outcome.code == 0, outcome.err
    assert "not saved, the training goes on" in outcome.err and os.strerror(number) in outcome.err
    assert "not saved" in (toy.run / "log.txt").read_text()
    assert [path.name for path in Run.open(toy.run).store.series("half1")] == ["half1_00001", "half1_00003"]


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 5), (errno.EDQUOT, 5), (errno.EIO, 4)])
def test_d_01_the_last_checkpoint_must_be_written_and_the_one_before_is_whole(
    toy: Toy, command: Command, number: int, code: int
) -> None:
    with disk_that(epoch(3), number):
        outcome = command(*toy.train("--epochs", 3))
    assert outcome.code == code and os.strerror(number) in outcome.err and "half1_00003" in outcome.err
    store = Run.open(toy.run).store
    assert [store.fault(path) for path in store.series("half1")] == [None, None]
    assert command(*toy.train("--epochs", 3), "--resume").code == 0


def test_d_01_a_training_that_cannot_be_saved_for_long_stops(toy: Toy, command: Command) -> None:
    with disk_that(lambda path: "half1_" in str(path), errno.ENOSPC), patch.object(loop, "UNSAVED", -1.0):
        outcome = command(*toy.train("--epochs", 3))
    assert outcome.code == 5 and "free space" in outcome.err and "half1_00001" in outcome.err


def test_d_02_logs_are_given_up_before_science(toy: Toy, command: Command) -> None:
    def full(path: Any, mode: str = "r", **rest: Any) -> Any:
        return open("/dev/full", "ab", **rest) if "a" in mode else open(path, mode, **rest)

    with patch.object(durable, "open", full, create=True):
        outcome = command(*toy.train("--epochs", 1))
    assert outcome.code == 0, outcome.err
    assert not (toy.run / "metrics.jsonl").exists() and (toy.run / "latents.npz").exists()


def crowded(toy: Toy) -> list[object]:
    return toy.train()


def in_the_way(toy: Toy) -> list[object]:
    (toy.folder / "run").write_text("a file where the run should be")
    return toy.train()


def test_d_04_a_run_that_would_not_fit_is_not_begun(toy: Toy, command: Command) -> None:
    fault = Fault("D-04", "a disk too small", crowded, 5, (str(toy.run), "1e-06 GB free", "another disk"))
    with patch.object(machine.shutil, "disk_usage", lambda _path: Usage(10**9, 10**9, 1000)):
        prove(fault, toy, command)
    assert not toy.run.exists()


FAULTS = [
    Fault("D-05", "a file in the way", in_the_way, 4, ("run", "cannot be made", "-o")),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.row} {fault.given}")
def test_fault(fault: Fault, toy: Toy, command: Command) -> None:
    prove(fault, toy, command)


def test_d_06_what_is_being_written_lies_beside_its_target(tmp_path: Path) -> None:
    """On another disk it could not be renamed."""
    replaced = []

    def watched(source: str | Path, target: str | Path) -> None:
        replaced.append((Path(source).parent, Path(target).parent))
        os.rename(source, target)

    with patch.object(durable.os, "replace", watched):
        durable.write_text(tmp_path / "x", "x")
        durable.write_folder(tmp_path / "folder", {"y": b"y"})
    assert replaced and all(source == target for source, target in replaced)


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_d_09_a_run_directory_that_vanishes_ends_the_run(toy: Toy, command: Command, how: str) -> None:
    record = Metrics.record

    def vanish(metrics: Metrics, figures: dict[str, object]) -> None:
        record(metrics, figures)
        if figures["epoch"] == 2:
            shutil.rmtree(toy.run) if how == "removed" else toy.run.rename(toy.folder / "elsewhere")

    with patch.object(Metrics, "record", vanish):
        outcome = command(*toy.train("--epochs", 9))
    assert outcome.code == 5
    for words in (str(toy.run), "removed or renamed", "dynaflex resume"):
        assert words in outcome.err
    assert not toy.run.exists()
    if how == "renamed":
        (toy.folder / "elsewhere").rename(toy.run)
        assert command(*toy.train("--epochs", 9), "--resume").code == 0


@pytest.mark.slow
def test_d_01_a_disk_that_fills_up_and_is_emptied_loses_nothing(few: Path, tmp_path: Path) -> None:
    """A real one, of 64 MB: filled while a run trains, and freed ten saves later."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=64m tmpfs {disk}") != 0:
        pytest.skip("only root may mount a disk")
    try:
        run, says = disk / "run", tmp_path / "says"
        process = start(*brief(few, run, "--epochs", 60, "--until", "train"), says=says)
        assert until(lambda: (run / "checkpoints" / "half1_00003").exists(), process)
        ballast = disk / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        assert until(lambda: says.read_text().count("not saved") >= 10, process)
        kept = [Run.open(run).store.fault(path) for path in Run.open(run).store.series("half1")]
        assert None in kept, "what was saved before is whole"
        ballast.unlink()
        assert ended(process) == 0, says.read_text()
        assert Run.open(run).store.series("half2")[-1].name == "half2_00060"
    finally:
        os.system(f"umount {disk}")


def test_d_08_slow_storage_is_measured(toy: Toy, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 7))
    monkeypatch.setattr(image_checks.time, "monotonic", lambda: float(next(clock)))
    outcome = command(*toy.check())
    assert outcome.code == 0
    for words in ("warning: the images were read at 0.1 MB/s in 7 s", "several times", "--cache DIR"):
        assert words in outcome.out
