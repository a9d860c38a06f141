"""A plan of a run: everything is done that it does, on a few of its particles, and what that took is extrapolated."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dynaflex import spent, tell
from dynaflex.config import RunConfig
from dynaflex.costs.laws import Cost
from dynaflex.costs.plan import Plan, keep, key_of
from dynaflex.errors import UsageError
from dynaflex.kernels import native
from dynaflex.pipeline import gather, prepare, reconstruct
from dynaflex.planning.extrapolate import Few, Full, Many, Seen, plan_of
from dynaflex.planning.miniature import miniature
from dynaflex.planning.training import only_ended, trained
from dynaflex.planning.watch import OnlyOne, Rates, cost_of
from dynaflex.prepare.before_training import checked, require_enough
from dynaflex.prepare.fingerprint import fingerprint
from dynaflex.prepare.inputs import InputPaths, looked_at, read_inputs
from dynaflex.prepare.memory import place_of_images
from dynaflex.report.html import write_report
from dynaflex.run.directory import Run
from dynaflex.training.method import AnyMethod, AnyWork, Work
from dynaflex.workers.halves import threads_each

_FEW, _MANY = 112, 320
"""Images of a half in the two sizes: of the smaller one just as many are held out as are judged by at least."""
_STEPS = 5


@dataclass(frozen=True)
class Asked:
    """A run that is planned, as it would be typed; ``out`` is where it might lie."""

    method: AnyMethod
    paths: InputPaths
    config: RunConfig
    device: torch.device
    cache: str
    out: Path


def planned(asked: Asked) -> Plan:
    """What a run takes here. It is kept for that run; nothing else is left behind.

    Raises:
        InputError, UsageError, ResourceError: the run would be refused.
        StoppedOnRequest: a signal asked to stop.
    """
    began = time.monotonic()
    spent.forget_memory()
    with _step(asked, 0), spent.counted() as taken, spent.on("reading"):
        full, known = _read(asked)
    full.reading = cost_of("reading", taken)
    full.memory_mb = spent.memory_mb()
    before = native.threads()
    try:
        native.set_threads(threads_each(full.config.trained_halves, asked.device) or before)
        with tempfile.TemporaryDirectory(prefix="dynaflex-plan-") as scratch:
            seen = _measured(asked, full, known, Path(scratch))
    finally:
        native.set_threads(before)
    plan = plan_of(asked.method.name, asked.device, full, seen, time.monotonic() - began)
    keep(plan, key_of(asked.method.name, asked.config, known, asked.device))
    return plan


def _read(asked: Asked) -> tuple[Full, dict[str, Any]]:
    """What a run does with its files before it looks at all images, and their fingerprint."""
    inputs = read_inputs(asked.paths, asked.config)
    if inputs.particles.tilted is not None:
        raise UsageError("tomography.plan", "what a run on tilt series takes is not planned", fix="leave --plan out")
    place = place_of_images(asked.cache, asked.out, inputs, asked.config)
    checked(inputs)
    made = asked.method.examine(inputs, asked.config)
    config = asked.method.settled(asked.config, made)
    require_enough(inputs, config)
    return Full(inputs, config, made, place is not None), fingerprint(asked.paths, inputs.particles)


def _measured(asked: Asked, full: Full, known: dict[str, Any], scratch: Path) -> Seen:
    """Everything in the smaller size, and what grows with the particles in the larger one too."""
    method, halves = asked.method, full.config.trained_halves
    few = _work(asked, full, known, scratch / "few", _FEW)
    with few.run.locked():
        with _step(asked, 1):
            prepare(few, method)
            # The first one warms the machine up.
            one, *_ = [trained(few, method, half, full.batches) for half in (*halves[1:], halves[0])][::-1]
            support, _ = _gathered(few)
        with _step(asked, 2):
            each, rates = OnlyOne(), Rates("maps of half")
            with tell.listening(rates), spent.counted() as maps:
                reconstruct(few, each)
        peak = spent.memory_mb()
        spent.forget_memory()
        with _step(asked, 3), spent.counted() as report, spent.on("report"):
            write_report(few.run.path)
    seen_few = Few(
        one, support, cost_of("motion", maps), cost_of("reconstruction", maps), each.half, rates.each() * rates.total,
        cost_of("report", report), spent.memory_mb(), few.inputs,
    )  # fmt: skip
    spent.forget_memory()
    many = _work(asked, full, known, scratch / "many", _MANY)
    with many.run.locked(), _step(asked, 4):
        prepare(many, method)
        for half in halves[1:]:
            only_ended(many, method, half)
        one = trained(many, method, halves[0], full.batches)
        support, collected = _gathered(many)
        with spent.counted() as looked, spent.on("reading"):
            looked_at(many.inputs)
    seen_many = Many(one, support, collected, cost_of("reading", looked), many.inputs)
    return Seen(seen_few, seen_many, max(peak, spent.memory_mb()))


def _gathered(work: AnyWork) -> tuple[Cost, Cost]:
    """What it takes to ask the particles held out, of both halves, and to write the latents down."""
    each = OnlyOne()
    with spent.counted() as taken:
        gather(work, each)
    return cost_of("motion", taken) + each.half, cost_of("final latents", taken)


def _work(asked: Asked, full: Full, known: dict[str, Any], path: Path, images: int) -> AnyWork:
    """A run in a folder of its own, on so many images of a half, whose training is as long as that of all."""
    config, method = full.config, asked.method
    config = config.model_copy(update={"epochs": config.planned_epochs(full.batches)})
    size = max(images, config.batch_size * images // _FEW)
    run = Run.create(path, method.name, config.model_dump(), asked.paths.as_dict(), known)
    return Work(run, miniature(full.inputs, size), config, full.made, asked.device)


@contextmanager
def _step(asked: Asked, number: int) -> Iterator[None]:
    """One of the steps, whose own words nobody needs to hear."""
    task = f"measuring {asked.method.name}"
    tell.progress(task, number, _STEPS)
    with tell.unheard():
        yield
    tell.progress(task, number + 1, _STEPS)
