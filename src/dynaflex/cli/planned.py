"""What a run takes, as a table and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from dynaflex.machine import available_cores, available_memory
from dynaflex.training.installed import method_named, names

if TYPE_CHECKING:
    from dynaflex.costs.plan import Plan

_NAME, _COLUMN = 16, 14


def usual_methods() -> list[str]:
    """Those that need nothing but particles and a map."""
    return [name for name in names() if not any(file.needed for file in method_named(name).config.files.values())]


def print_plans(plans: Sequence[Plan]) -> None:
    """A column for each method, a row for each stage; what it holds and writes below."""
    from dynaflex.run.monitor import duration
    from dynaflex.spent import STAGES

    one = plans[0]
    cores = "both halves side by side" if one.side_by_side else "one half after the other"
    measured = duration(sum(plan.measured_seconds for plan in plans))
    typer.echo(
        f"a run on these {one.particles:,} particles, box {one.box}, trained in {one.train_box}, on {one.device} with "
        f"{one.threads} thread{'s' * (one.threads > 1)}, {cores}; measured in {measured}:"
    )
    rows = [("", [plan.method for plan in plans])]
    rows += [(stage, [duration(plan.seconds[stage]) for plan in plans]) for stage in STAGES]
    rows += [("in all", [duration(plan.total) for plan in plans])]
    rows += [("epochs", [str(plan.epochs) for plan in plans]), ("memory", [_size(plan.memory_mb) for plan in plans])]
    if one.device_memory_mb is not None:
        rows += [("GPU memory", [_size(plan.device_memory_mb or 0.0) for plan in plans])]
    rows += [("disk", [_size(plan.disk_mb) for plan in plans])]
    if one.cache_mb:
        rows += [("cache", [_size(plan.cache_mb) for plan in plans])]
    for name, cells in rows:
        typer.echo(f"  {name:<{_NAME}}" + "".join(f"{cell:>{_COLUMN}}" for cell in cells))


def advice(plans: Sequence[Plan]) -> Iterator[str]:
    """What follows from the plans, and from nothing else."""
    from dynaflex.run.monitor import duration

    for plan in plans:
        if plan.most_epochs > plan.epochs:
            yield (
                f"{plan.method} goes on while it surely gains, to {plan.most_epochs} epochs and {duration(plan.most)} "
                f"at most; --epochs {plan.epochs} ends it as planned"
            )
        if plan.seconds["training"] > 0.5 * plan.total and plan.epochs > 1:
            half = max(1, plan.epochs // 2)
            left = plan.total - (plan.epochs - half) * plan.epoch_seconds
            yield (
                f"most of {plan.method} is training, {duration(plan.epoch_seconds)} an epoch: with --epochs {half} it "
                f"would take {duration(left)}; to know it with a smaller --train-box, plan with one"
            )
    one = plans[0]
    if not one.side_by_side and one.device == "cpu" and one.threads < 2 <= available_cores():
        yield "--threads 2 works on both halves side by side"
    free, most = available_memory(), max(plan.memory_mb for plan in plans)
    if free is not None and 1e6 * most > free:
        yield f"warning: {_size(most)} of memory are more than the {free / 1e9:.3g} GB that are available"


def _size(megabytes: float) -> str:
    return f"{megabytes / 1e3:.2g} GB" if megabytes < 1e3 else f"{megabytes / 1e3:.3g} GB"
