"""From what a few particles took to what all take: how every stage grows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from dynaflex.config import RunConfig
from dynaflex.costs.laws import NOTHING, Cost, Line
from dynaflex.costs.plan import Plan
from dynaflex.kernels import native
from dynaflex.planning.training import Trained, TrainingLaw
from dynaflex.prepare.inputs import Inputs
from dynaflex.prepare.memory import cache_need, disk_need, memory_need
from dynaflex.results.support import MOST as MOST_JUDGED
from dynaflex.training.likelihood import MOST as MOST_HELD_OUT
from dynaflex.training.linear_start import MOST as MOST_AT_FIRST
from dynaflex.workers.halves import threads_each

_START_BYTES = 18_000
"""Of an image while linear components are sought, at most: ADR 0027."""
_MB = 1e6


@dataclass
class Full:
    """What is planned: all particles, the settings, what the method made of them, whether images lie in a cache; what
    it took to read them, and the memory that this held."""

    inputs: Inputs
    config: RunConfig
    made: Any
    cached: bool
    reading: Cost = field(default_factory=lambda: NOTHING)
    memory_mb: float = 0.0

    @property
    def half(self) -> int:
        """The half that stands for all: the first that is trained."""
        return self.config.trained_halves[0]

    @property
    def particles(self) -> int:
        """How many that half holds."""
        return int(self.inputs.members(self.half).sum())

    @property
    def training(self) -> int:
        """How many of these are trained on."""
        return int((self.inputs.members(self.half) & ~self.inputs.held_out).sum())

    @property
    def batches(self) -> int:
        """Updates of an epoch."""
        return -(-self.training // self.config.batch_size)


@dataclass(frozen=True)
class Few:
    """What the smaller size took: a ``half`` of the training; to judge the motion by particles held out, ``support``,
    of both halves; to measure the ``motion``; the ``maps``, of which ``one_half`` alone and in it the ``pieces`` that
    grow with the particles; the ``report``, with its memory."""

    half: Trained
    support: Cost
    motion: Cost
    maps: Cost
    one_half: Cost
    pieces: Cost
    report: Cost
    report_mb: float
    inputs: Inputs

    @property
    def count(self) -> int:
        """Particles of both halves."""
        return len(self.inputs.particles)


@dataclass(frozen=True)
class Many:
    """What the larger size took: a ``half`` of the training, ``support`` of both, latents ``collected``, and all images
    ``looked`` at once."""

    half: Trained
    support: Cost
    collected: Cost
    looked: Cost
    inputs: Inputs


@dataclass(frozen=True)
class Seen:
    """Both sizes, and the most memory in MB that was held but for the report."""

    few: Few
    many: Many
    memory_mb: float


def plan_of(method: str, device: torch.device, full: Full, seen: Seen, measured_seconds: float) -> Plan:
    """What all takes, stage by stage."""
    config, few, many = full.config, seen.few, seen.many
    law = TrainingLaw(few.half, many.half)
    beside = threads_each(config.trained_halves, device) > 0
    halves = len(config.trained_halves)
    # Side by side both halves take the time of one, of processors what they take.
    trained, mapped = np.array([1.0 if beside else halves, halves]), np.array([1.0 if beside else 2.0, 2.0])
    particles = full.particles
    later = trained * law.later_epoch(particles)
    judged = min(particles - full.training, MOST_HELD_OUT)
    images = full.inputs.particles.distinct
    stages = {
        "reading": full.reading
        + many.looked * images / many.inputs.particles.distinct
        + trained * law.images(particles),
        "first latents": trained * law.first(particles),
        "stiffness": trained * (law.trials(judged) + law.retaken(particles)),
        "training": trained * law.epochs(particles),
        "final latents": trained * law.final(particles) + many.collected,
        "motion": _support(full, few, many, beside) + few.motion * len(full.inputs.particles) / few.count,
        "reconstruction": few.maps - few.one_half + mapped * _maps(full, few),
        "report": few.report,
    }  # fmt: skip
    images_mb = (memory_need(full.inputs) * (not full.cached) - memory_need(many.inputs)) / _MB
    start_mb = _START_BYTES * (min(particles, MOST_AT_FIRST) - many.half.particles) / _MB
    working = seen.memory_mb + images_mb + max(start_mb, 0.0)
    return Plan(
        method=method,
        particles=len(full.inputs.particles),
        box=full.inputs.full_imaging.grid.box,
        train_box=full.inputs.imaging.grid.box,
        device=str(device),
        threads=native.threads(),
        side_by_side=beside,
        epochs=config.planned_epochs(full.batches),
        most_epochs=config.most_epochs(full.batches),
        epoch_seconds=float(later[0]),
        seconds={stage: float(cost[0]) for stage, cost in stages.items()},
        cpu_seconds={stage: float(cost[1]) for stage, cost in stages.items()},
        memory_mb=max(few.report_mb, full.memory_mb + 2.0 * working if beside else working),
        device_memory_mb=torch.cuda.max_memory_reserved(device) / _MB if device.type == "cuda" else None,
        disk_mb=disk_need(full.inputs, config) / _MB,
        cache_mb=cache_need(full.inputs) / _MB if full.cached else 0.0,
        measured_seconds=measured_seconds,
    )


def _support(full: Full, few: Few, many: Many, beside: bool) -> Cost:
    """Particles held out are judged up to a number, by maps of others up to another."""
    held_out, most = full.inputs.images_held_out, len(full.inputs.particles)
    amount = most * min(1.0, MOST_JUDGED / max(held_out, 1))
    small, large = few.count, len(many.inputs.particles)
    line = Line.through((small, few.support), (large, many.support))
    return line.at(amount) * np.array([0.5 if beside else 1.0, 1.0])


def _maps(full: Full, few: Few) -> Cost:
    """The maps of one half: what is there whatever the number of particles, and what each adds."""
    pieces = np.minimum(few.pieces, few.one_half)
    half = int(few.inputs.members(1).sum())
    return few.one_half - pieces + pieces * int(full.inputs.members(1).sum()) / half
