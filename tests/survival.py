"""Commands in processes of their own, to be killed, stopped and raced; a server that forks makes them start fast."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from dynaflex.run.ledger import Ledger

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["dynaflex.cli.app", "dynaflex.report.reported", "dynaflex.prepare.before_training",
     "dynaflex.pipeline", "dynaflex.results.doctor", "dynaflex.simulation.particles"]
)  # fmt: skip

PATIENCE = 120.0
FINAL = ("fsc.json", "latents.npz", "motion.npz", "particles.star", "maps/map.mrc", "maps/map_half1.mrc")


def _type_command(arguments: list[str], says: str) -> None:
    descriptor = os.open(says, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = ["dynaflex", *arguments]
    from dynaflex.cli.main import main

    main()


def start(*arguments: object, says: Path) -> BaseProcess:
    """A command in a process of its own; what it prints is added to the file ``says``."""
    process = CONTEXT.Process(target=_type_command, args=([str(part) for part in arguments], str(says)))
    process.start()
    return process


def ended(process: BaseProcess) -> int:
    """Wait for a process and return its exit code, minus the signal's number if that killed it."""
    process.join(PATIENCE)
    assert process.exitcode is not None, "the command hangs"
    return process.exitcode


def until(condition: Callable[[], bool], process: BaseProcess, pause: float = 0.001) -> bool:
    """Wait for a condition as long as a process lives; False if it ended before."""
    while not condition():
        if process.exitcode is not None:
            return False
        time.sleep(pause)
    return True


def final(run: Path) -> dict[str, str]:
    """A digest of every result that must not depend on how often a run was interrupted."""
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in FINAL}


def rewrite(run: Path, name: str, change: Callable[[str], str]) -> None:
    """Change a text file of a run as the run itself would: it is whole afterwards, and says something else."""
    with Ledger(run).writing(name) as path:
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def brief(data: Path, run: Path, *options: object, method: str = "dynamight") -> list[object]:
    """A run of five epochs up to the maps, which takes two or three seconds."""
    size = ["--gaussians", 80] if method == "dynamight" else ["--cells", 8, "--width", 16]
    files = [data / "particles.star", "--map", data / "consensus.mrc", "--mask", data / "mask.mrc", "-o", run]
    return [method, *files, "--epochs", 5, "--batch-size", 8, *size, "--until", "reconstruct", *options]
