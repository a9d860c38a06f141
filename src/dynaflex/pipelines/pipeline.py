"""The whole of a method but its report: prepare, train both halves, reconstruct."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from dynaflex.data.halves import halves_digest
from dynaflex.errors import InputError, StoppedOnRequest
from dynaflex.io.star import write_star
from dynaflex.pipelines import checkpoint, embedding, maps
from dynaflex.pipelines.alignment import align_halves
from dynaflex.pipelines.config import RunConfig
from dynaflex.pipelines.half import HalfSet
from dynaflex.pipelines.inputs import InputPaths, Inputs, read_inputs
from dynaflex.pipelines.method import Method, Trainer, Work
from dynaflex.pipelines.progress import Monitor, memory_mb
from dynaflex.pipelines.run import Run

STAGES = ("prepare", "train", "reconstruct", "report")


def run_method(
    method: Method,
    path: Path,
    paths: InputPaths,
    config: RunConfig,
    *,
    resume: bool,
    until: str,
    device: torch.device,
    monitor: Monitor,
) -> Run:
    """Start or resume a run and take it through the stages up to ``until``.

    Raises:
        InputError: the inputs do not fit.
        StoppedOnRequest: a signal asked to stop; the run can be resumed.
    """
    if resume and (path / "config.json").exists():
        run = Run.open(path)
        config = method.config.from_stored(run.config())
        paths = InputPaths.from_dict(run.read_json("provenance.json")["inputs"])
        inputs = read_inputs(paths, config)
        plan = method.examine(inputs, config)
    else:
        inputs = read_inputs(paths, config, read_images=True)
        plan = method.examine(inputs, config)
        run = Run.create(path, method.name, config.model_dump(), paths.as_dict())
    work = Work(run, inputs, config, plan, device, monitor)
    stages = STAGES[: STAGES.index(until) + 1]
    with run.locked(), _stoppable():
        _prepare(work, method)
        if "train" in stages:
            for half in config.trained_halves:
                train_half(work, method, half)
            embedding.collect(run, inputs)
        if "reconstruct" in stages and not (run.path / "fsc.json").exists():
            align_halves(run)
            embedding.compare_held_out(run, inputs, device)
            maps.reconstruct_run(run, inputs, device, monitor, solver=config.solver)
    return run


def _prepare(work: Work, method: Method) -> None:
    """Say what is used, what is excluded, and what the halves share."""
    run, inputs = work.run, work.inputs
    particles = inputs.particles
    excluded = [{"row": item.row, "reason": item.reason} for item in particles.excluded]
    used = len(particles)
    run.write_provenance(counts={"table": used + len(excluded), "used": used, "excluded": excluded})
    for message in particles.warnings:
        run.warn(message)
    grid, train = inputs.full_imaging.grid, inputs.imaging.grid
    run.write_json(
        "grid.json",
        {
            "box": grid.box,
            "pixel_size": grid.pixel_size,
            "train_box": train.box,
            "train_pixel_size": train.pixel_size,
        },
    )
    write_star(embedding.table_with_halves(particles, work.config.seed), run.path / "particles.star")
    work.monitor.say(f"{used} particles used, {len(excluded)} excluded")
    run.write_provenance(shared_between_halves=[*_shared(inputs, work.config), *method.prepare(work)])


def _shared(inputs: Inputs, config: RunConfig) -> list[str]:
    if config.half_sets == "shared":
        return ["the whole model of the motion: both halves were trained as one"]
    mask = "a mask made from the consensus map" if inputs.given_mask is None else "the mask"
    if inputs.independent_starts:
        return [mask, "which box, pixel size and poses the refinement gave"]
    return [mask, f"the consensus map, low-passed to {config.shared_resolution:g} Å, to start from"]


def train_half(work: Work, method: Method, half: int) -> None:
    """Train one half to its end, or do nothing if it is there, and find the final latents of its particles."""
    run, inputs, config = work.run, work.inputs, work.config
    if run.load_checkpoint(f"latents{half}") is not None:
        return
    mine = inputs.members(half)
    members = inputs.particles.take(mine)
    training = torch.from_numpy(np.flatnonzero(~inputs.held_out[mine]))
    if len(training) < 2 * config.batch_size:
        raise InputError(
            "halves.too-few",
            f"half {half} has too few particles to train on",
            file=inputs.particles.source.path,
            expected=f"at least {2 * config.batch_size} besides those held out",
            found=len(training),
            fix="use more particles or a smaller --batch-size",
        )
    digest = halves_digest(members.half, members.rows)
    data = HalfSet(members, half, inputs.imaging, work.device)
    trainer = method.trainer(work, data, training)
    if checkpoint.restore(run, trainer, digest):
        run.truncate_metrics(half, trainer.progress.epoch)
        work.monitor.say(f"half {half}: resumed after epoch {trainer.progress.epoch}")
    while not trainer.finished:
        _run_epoch(work, trainer)
        checkpoint.save(run, trainer, digest)
    embedding.embed_half(run, trainer, work.monitor)


def _run_epoch(work: Work, trainer: Trainer) -> None:
    task = f"half {trainer.data.half}"
    figures = ""

    def on_batch(done: int, total: int) -> None:
        _stop_if_asked()
        work.monitor.update(task, trainer.progress.epoch + done / total, trainer.epochs, figures)

    def on_epoch(values: dict[str, Any]) -> None:
        nonlocal figures
        work.run.record({**values, "memory_mb": memory_mb()})
        figures = _figures(values) or figures
        work.run.log(f"{task} epoch {values['epoch']}/{trainer.epochs} {values['phase']} {figures}")
        work.monitor.update(task, trainer.progress.epoch, trainer.epochs, figures)

    trainer.run_epoch(on_epoch, on_batch)


def _figures(values: dict[str, Any]) -> str:
    """What of an epoch's figures is shown beside the bar; empty for an epoch that has none of them."""
    if "data_loss" not in values:
        return ""
    return f"loss {values['data_loss']:.1f} moves {values['rms_displacement']:.2f} Å"


_asked_to_stop = False


@contextmanager
def _stoppable() -> Iterator[None]:
    """While inside, SIGINT and SIGTERM ask for a stop at the next batch instead of killing the process."""
    global _asked_to_stop
    _asked_to_stop = False

    def ask(_number: int, _frame: FrameType | None) -> None:
        global _asked_to_stop
        _asked_to_stop = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_if_asked() -> None:
    if _asked_to_stop:
        raise StoppedOnRequest(
            "run.stopped", "stopped on request; the last whole epoch is saved", fix="add --resume to continue"
        )
