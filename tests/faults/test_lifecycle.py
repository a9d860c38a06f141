"""Rows L of the list: one process at a time, stopping, being killed, and coming back to what was left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from unittest.mock import patch

import pytest

from dynaflex import pipeline
from dynaflex.io.star import read_star, write_star
from dynaflex.prepare import half
from dynaflex.results import table
from dynaflex.results.half_maps.made import Passes
from dynaflex.run.directory import Run
from dynaflex.run.stop import ABORT, ABORTED
from dynaflex.run.store import CheckpointStore
from dynaflex.training import final_latents
from dynaflex.training.steps import Steps
from faults.harness import Command, Fault, Toy, prove
from survival import brief, ended, start, until


@pytest.fixture
def toy(trained_toy: Toy) -> Toy:
    """Here every fault befalls a run that is there."""
    return trained_toy


def untrain(toy: Toy) -> None:
    """Take the final latents away, so that the checkpoints are needed again."""
    for path in (toy.run / "checkpoints").glob("latents*"):
        shutil.rmtree(path)


def at_work(toy: Toy) -> list[object]:
    lock = {"pid": os.getpid(), "host": "host-far-away", "since": "2026-01-01 00:00:00"}
    (toy.run / "lock.json").write_text(json.dumps(lock))
    return toy.train("--resume")


def silent_for_long(toy: Toy) -> list[object]:
    at_work(toy)
    os.utime(toy.run / "lock.json", (time.time() - 7200.0,) * 2)
    return toy.train("--resume")


def unlocked_too_early(toy: Toy) -> list[object]:
    at_work(toy)
    return ["doctor", toy.run, "--force-unlock"]


def already_a_run(toy: Toy) -> list[object]:
    return toy.train()


def something_else_there(toy: Toy) -> list[object]:
    shutil.rmtree(toy.run)
    return [*toy.train(), "-o", toy.folder]


def newest_damaged(toy: Toy) -> list[object]:
    untrain(toy)
    path = toy.run / "checkpoints" / "half1_00002" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    return toy.train("--resume")


def all_damaged(toy: Toy) -> list[object]:
    untrain(toy)
    for path in (toy.run / "checkpoints").glob("half1_*/state.json"):
        path.write_text("{}")
    return toy.train("--resume")


def other_settings(toy: Toy) -> list[object]:
    return toy.train("--resume", "--latent-dim", 3)


def other_method(toy: Toy) -> list[object]:
    return ["flex", *toy.train("--resume")[1:8], "--resume"]


def edited_settings(toy: Toy) -> list[object]:
    path = toy.run / "config.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    return toy.train("--resume")


def cut_settings(toy: Toy) -> list[object]:
    path = toy.run / "config.json"
    path.write_text(path.read_text()[:-20])
    return toy.train("--resume")


def another_file_as_checkpoint(toy: Toy) -> list[object]:
    untrain(toy)
    for path in (toy.run / "checkpoints").glob("half1_*"):
        shutil.copy(toy.run / "latents.npz", path / "state.safetensors")
    return toy.train("--resume")


def newer_version(toy: Toy) -> list[object]:
    untrain(toy)
    for path in (toy.run / "checkpoints").glob("half1_*/manifest.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    return toy.train("--resume")


def other_rows(toy: Toy) -> list[object]:
    star = read_star(toy.particles)
    star.blocks["particles"].loc[[3, 8], "rlnDefocusU"] = "12345.0"
    write_star(star, toy.particles)
    return toy.train("--resume")


def fewer_rows(toy: Toy) -> list[object]:
    toy.change(lambda table: table.iloc[:100])
    return toy.train("--resume")


def other_columns(toy: Toy) -> list[object]:
    toy.change(lambda table: table.drop(columns="rlnRandomSubset"))
    return toy.train("--resume")


def other_mask(toy: Toy) -> list[object]:
    shutil.copy(toy.map, toy.mask)
    return ["doctor", toy.run]


def nothing_there(toy: Toy) -> list[object]:
    return ["doctor", toy.folder / "nothing"]


FAULTS = [
    Fault("L-01", "another process at work", at_work, 6, ("host-far-away", "last sign of life", "--force-unlock")),
    Fault(
        "L-03",
        "a machine silent for long",
        silent_for_long,
        6,
        ("host-far-away", "last sign of life 72", "--force-unlock"),
    ),
    Fault("L-03", "unlocked too early", unlocked_too_early, 6, ("host-far-away", "last sign of life", "wait for it")),
    Fault("L-04", "a run without --resume", already_a_run, 6, ("run", "already holds a run", "dynaflex resume")),
    Fault("L-04", "a folder of other files", something_else_there, 2, ("particles.star", "overwrite", "another -o")),
    Fault("L-09", "the newest damaged", newest_damaged, 0, ("half1_00002", "SHA-256", "half1_00001 was")),
    Fault("L-10", "all damaged", all_damaged, 8, ("half1_00001", "half1_00002", "doctor")),
    Fault("L-11", "other settings", other_settings, 2, ("option --latent-dim", "expected 6; found 3", "another -o")),
    Fault("L-11", "another method", other_method, 2, ("another method", "found flex", "dynaflex resume")),
    Fault("L-11", "edited settings", edited_settings, 8, ("config.json", "not the one", "put a copy back")),
    Fault("L-11", "settings cut short", cut_settings, 8, ("config.json", "not the one", "put a copy back")),
    Fault("L-12", "a table of latents", another_file_as_checkpoint, 8, ("half1", "SHA-256", "state.safetensors")),
    Fault("L-13", "a newer version", newer_version, 8, ("half1_00002", "format 99", "reads format")),
    Fault("S-19", "other values", other_rows, 8, ("particles.star", "2 of 120 rows differ", "with --particles")),
    Fault("S-19", "fewer rows", fewer_rows, 8, ("particles.star", "100 rows, and had 120", "with --particles")),
    Fault("S-19", "other columns", other_columns, 8, ("particles.star", "rlnRandomSubset", "with --particles")),
    Fault("S-19", "another mask, to doctor", other_mask, 8, ("mask.mrc", "has changed", "put the inputs back")),
    Fault("L-12", "doctor on nothing", nothing_there, 3, ("nothing", "not a run directory", "-o")),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.row} {fault.given}")
def test_fault(fault: Fault, toy: Toy, command: Command) -> None:
    before = {path: path.read_bytes() for path in (toy.run / "checkpoints").rglob("*") if path.is_file()}
    prove(fault, toy, command)
    if fault.row in ("L-01", "L-03", "L-04") and toy.run.exists():
        assert before == {path: path.read_bytes() for path in before}, "who is refused changes nothing"


def test_l_02_the_lock_of_a_dead_process_is_taken_over(toy: Toy, command: Command) -> None:
    lock = {"pid": 2**22 + 1, "host": socket.gethostname(), "since": "2026-01-01 00:00:00"}
    (toy.run / "lock.json").write_text(json.dumps(lock))
    outcome = command(*toy.train("--resume"))
    assert outcome.code == 0, outcome.err
    assert "is gone; its lock was taken over" in (toy.run / "log.txt").read_text()
    assert not (toy.run / "lock.json").exists()


def test_l_03_a_lock_broken_by_hand_lets_the_run_go_on(toy: Toy, command: Command) -> None:
    silent_for_long(toy)
    outcome = command("doctor", toy.run, "--force-unlock")
    assert outcome.code == 0 and "host-far-away" in outcome.out
    assert command(*toy.train("--resume")).code == 0


def interrupt(place: str, ask: Callable[[], None]) -> object:
    """Ask for a stop the moment the run comes to a place."""
    target, name = {
        "preparation": (pipeline, "prepare"),
        "images": (half.HalfSet, "__init__"),
        "update": (Steps, "take"),
        "save": (CheckpointStore, "save"),
        "latents": (final_latents, "find_final_latents"),
        "table": (table, "collect"),
        "maps": (Passes, "__call__"),
    }[place]
    before, asked = getattr(target, name), []

    def asking(*given: object, **named: object) -> object:
        if not asked:
            asked.append(True)
            ask()
        return before(*given, **named)

    return patch.object(target, name, asking)


PLACES = ["preparation", "images", "update", "save", "latents", "table", "maps"]


@pytest.mark.parametrize(
    ("place", "number"), list(zip(PLACES, cycle([signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]), strict=False))
)
def test_l_05_l_06_a_signal_stops_anywhere_and_the_run_can_go_on(
    toy: Toy, command: Command, place: str, number: signal.Signals
) -> None:
    shutil.rmtree(toy.run)
    typed = brief(toy.folder, toy.run, "--epochs", 1)
    started = time.monotonic()
    with interrupt(place, lambda: os.kill(os.getpid(), number)):
        outcome = command(*typed, interrupting=True)
    assert outcome.code == 75 and number.name in outcome.err and f"dynaflex resume {toy.run}" in outcome.err
    assert time.monotonic() - started < 30.0
    store = Run.open(toy.run).store
    assert all(store.fault(path) is None for name in store.names() for path in store.series(name))
    assert not (toy.run / "lock.json").exists() and not (toy.run / "fsc.json").exists()


@pytest.mark.parametrize("place", PLACES)
def test_l_06_relions_abort_file_stops_anywhere(toy: Toy, command: Command, place: str) -> None:
    shutil.rmtree(toy.run)

    def abort() -> None:
        (toy.run / ABORT).touch()
        time.sleep(1.5 if place != "save" else 0.0)

    with interrupt(place, abort):
        outcome = command(*brief(toy.folder, toy.run, "--epochs", 40 if place == "save" else 1))
    assert outcome.code == 75 and ABORT in outcome.err
    assert (toy.run / ABORTED).exists() and not (toy.run / ABORT).exists()


def test_l_06_a_stop_within_an_epoch_is_saved_to_the_update(toy: Toy, command: Command) -> None:
    shutil.rmtree(toy.run)
    with interrupt("update", lambda: os.kill(os.getpid(), signal.SIGTERM)):
        assert command(*toy.train()).code == 75
    assert [path.name for path in Run.open(toy.run).store.series("half1")] == ["half1_00000.000001"]
    assert "resumed after epoch 0, update 1" in command(*toy.train("--resume")).out


def test_l_08_a_lost_terminal_and_a_closed_pipe_do_not_end_a_run(toy: Toy) -> None:
    shutil.rmtree(toy.run)
    reader, writer = os.pipe()
    os.close(reader)
    process = start(*brief(toy.folder, toy.run), says=Path(f"/proc/{os.getpid()}/fd/{writer}"))
    if until(lambda: (toy.run / "lock.json").exists(), process):
        os.kill(process.pid or 0, signal.SIGHUP)
    assert ended(process) in (0, 1)  # 1 for the last line, which nobody reads
    os.close(writer)
    assert (toy.run / "fsc.json").exists()
