"""What each line of RELION asks for, done by the commands that a person would type."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dynaflex.cli.main import dynaflex
from dynaflex.cli.words import typable
from dynaflex.errors import InputError, StoppedOnRequest, UsageError
from dynaflex.relion import files
from dynaflex.relion.additional import known
from dynaflex.relion.line import BACKPROJECT, EXPLORE, EXTERNAL, INVERT, TRAIN, Line
from dynaflex.relion.places import FINAL, RUN
from dynaflex.relion.pointer import followed
from dynaflex.results.settings import config_of, open_run
from dynaflex.results.support import SUPPORT
from dynaflex.run.directory import CONFIG, PAGE, Run
from dynaflex.run.files import FSC, LATENTS
from dynaflex.training.installed import names

_COUNTS = {
    "n-gaussians": "gaussians", "n-gaussian-widths": "classes", "n-epochs": "epochs", "batch-size": "batch-size",
    "n-latent-dimensions": "latent-dim", "n-linear-layers": "layers", "n-neurons-per-layer": "width",
}  # fmt: skip
_OTHERS = {"mask-file": "mask", "atomic-model": "atoms", "datadir": "datadir"}
"""What dynaflex calls DynaMight's options of the same meaning."""
_PORT, _HOST, _SOCKET, _IMAGES, _IDLE = "port", "host", "socket", "datadir", "idle-hours"


def do(line: Line) -> None:
    """Do what a line asks for.

    Raises:
        DynaflexError: it cannot be done; SystemExit with an exit code if a command said so itself.
        StoppedOnRequest: it was stopped.
    """
    if line.unneeded:
        _say(f"of no effect here, where nothing needs it: {' '.join(line.unneeded)}")
    tasks = {TRAIN: _train, INVERT: _invert, BACKPROJECT: _backproject, EXPLORE: _explore, EXTERNAL: _external}
    tasks[line.task](line)


def _train(line: Line) -> None:
    files_given = [line.required("refinement-star-file"), "--map", line.required("initial-model")]
    _command("dynamight", *files_given, *_run_of(line), "--until", "train", *_settings(line), *line.rest)
    run = open_run(line.job / RUN)
    _say_what_next(run)
    files.write_trained(line.job, run)
    files.write_nodes(line.job)


def _invert(line: Line) -> None:
    known(line)
    run = _trained(line)
    files.write_inverse(line.job, run)
    _say("nothing to do: maps are gathered along the deformations themselves, and need no inverse of them")


def _backproject(line: Line) -> None:
    others = known(line, "reconstruct")
    run = _trained(line)
    if not run.files.has(FSC) or not (run.path / PAGE).exists():
        _command("resume", run.path, "--device", _device(line))
    if others:
        _command("reconstruct", run.path, "--solver", config_of(run).solver, "--device", _device(line), *others)
    files.write_backprojected(line.job, run)
    files.write_subsets(line.job, run)
    files.write_nodes(line.job)


def _explore(line: Line) -> None:
    from dynaflex.cli.commands.view import explore

    known(line)
    run = _trained(line)
    port, idle = line.number(_PORT), line.number(_IDLE)
    try:
        explore(
            run.path, _path(line.value(_IMAGES)), None if port is None else int(port), line.value(_HOST) or "127.0.0.1",
            _path(line.value(_SOCKET)), 8.0 if idle is None else idle, _say,
        )  # fmt: skip
    except StoppedOnRequest:
        # To be stopped is how it ends.
        _say("stopped")
    files.write_subsets(line.job, run)
    files.write_nodes(line.job)


def _external(line: Line) -> None:
    method = line.required("method")
    if method not in names():
        raise UsageError("relion.method", f"there is no method {method!r}", expected=" or ".join(names()))
    files_given = [line.required("in-parts"), "--map", line.required("in-3dref")]
    mask = line.value("in-mask")
    _command(
        method, *files_given, *([] if mask is None else ["--mask", mask]), *_run_of(line), "--device", _device(line),
        *line.rest,
    )  # fmt: skip
    files.write_nodes(line.job, external=True)


def _run_of(line: Line) -> list[object]:
    """Where the run of a job is, and that one which is there already is gone on with."""
    path = line.job / RUN
    return ["-o", path, *(["--resume"] if (path / CONFIG).exists() else [])]


def _settings(line: Line) -> Iterator[object]:
    """The options of DynaMight as those of dynaflex."""
    from dynaflex.methods.dynamight.config import PAPERS_RATIO

    yield from ("--device", _device(line))
    asked: dict[str, object] = {ours: line.whole(name) for name, ours in _COUNTS.items()}
    asked |= {ours: line.value(name) for name, ours in _OTHERS.items()}
    for ours, value in asked.items():
        if value is not None:
            yield from (f"--{ours}", value)
    diameter, threshold, factor = map(line.number, ("particle-diameter", "initial-threshold", "regularization-factor"))
    if diameter is not None:
        yield from ("--diameter", f"{diameter:g}")
    # Scipion asks for an automatic threshold with -1.
    if threshold is not None and threshold > 0.0:
        yield from ("--threshold", f"{threshold:g}")
    # The job sends 1 where nobody has asked for anything.
    if factor is not None and factor != 1.0:
        yield from ("--regularisation", f"{factor * PAPERS_RATIO:g}")


def _trained(line: Line) -> Run:
    """The run that a task goes on with; one that was stopped before its training had ended is trained first.

    Raises:
        InputError: there is none.
    """
    run = _found(line)
    if not (run.files.has(LATENTS) and run.files.has(SUPPORT)):
        _say(f"the training of {run.path} has not come to its end, and goes on first")
        _command("resume", run.path, "--until", "train", "--device", _device(line))
    if not (line.job / FINAL).exists():
        files.write_trained(line.job, run)
    return run


def _found(line: Line) -> Run:
    own, named = line.job / RUN, _path(line.value("checkpoint-file"))
    if named is not None and named.exists():
        return followed(named)
    if (own / CONFIG).exists():
        return open_run(own)
    if (line.job / FINAL).exists():
        return followed(line.job / FINAL)
    raise InputError(
        "relion.no-run", "nothing was trained in this job", file=named or line.job,
        expected=f"{RUN}/ or {FINAL} in it", found="neither",
        fix="train first: optimize-deformations, which is the job before it is continued",
    )  # fmt: skip


def _device(line: Line) -> str:
    """The device that was named, if this machine has one at all."""
    return _usable(tuple(line.gpus))


@cache
def _usable(gpus: tuple[int, ...]) -> str:
    if not gpus:
        return "auto"
    import torch

    if not torch.cuda.is_available():
        warning = f"there is no GPU that PyTorch can use; instead of GPU {gpus[0]} the CPU computes"
        print(f"warning: {warning}", file=sys.stderr, flush=True)
        return "cpu"
    if len(gpus) > 1:
        _say(f"one GPU computes, the first of those that were named: {gpus[0]}")
    return f"cuda:{gpus[0]}"


def _command(*parts: object) -> None:
    """One command of dynaflex, shown as it would be typed.

    Raises:
        SystemExit: it did not end well.
    """
    _say(f"$ {typable('dynaflex', *parts)}")
    try:
        dynaflex([str(part) for part in parts])
    except SystemExit as left:
        if left.code:
            raise


def _say_what_next(run: Run) -> None:
    _say(f"trained: {run.path}; deformable-backprojection makes the maps, explore-latent-space shows the motion")


def _say(line: str) -> None:
    print(line, flush=True)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
