"""What a run has taken, written down in it, beside what it was planned to take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from dynaflex import spent, tell
from dynaflex.costs.plan import PLAN, Plan
from dynaflex.errors import DynaflexError
from dynaflex.run.directory import Run
from dynaflex.run.files import FSC
from dynaflex.run.monitor import duration
from dynaflex.spent import STAGES, Spent

SPENT = "spent.json"
"""The file of a run that says what it has taken so far, all its sessions together."""
_ALL = "in all"


class Account:
    """Adds what this session spends, ``now``, to what those before it have spent in a ``run``."""

    def __init__(self, run: Run, now: Spent) -> None:
        self.run = run
        self.now = now
        self.before = Spent()
        with suppress(DynaflexError):
            self.before = spent_of(run.read_json(SPENT))

    def total(self) -> Spent:
        """Of all sessions."""
        total = Spent(memory_mb=max(self.before.memory_mb, self.now.memory_mb, spent.memory_mb()))
        for one in (self.before, self.now):
            for stage, seconds in one.seconds.items():
                total.add(stage, seconds, one.cpu_seconds.get(stage, 0.0))
        return total

    def write(self) -> None:
        """Write it into the run."""
        self.run.write_json(SPENT, asdict(self.total()))


@contextmanager
def accounted(run: Run, now: Spent, plan: Plan | None = None) -> Iterator[Account]:
    """Keep the account of a run whose work is done inside, however that ends, and the ``plan`` that was made of it.

    Where it comes to its maps it is told how the plan compares. Whatever goes wrong with the account, the run is what
    counts.
    """
    account = Account(run, now)
    if plan is not None:
        run.write_json(PLAN, plan.as_dict())
    try:
        yield account
    finally:
        if run.store.names():
            try:
                account.write()
            except DynaflexError as error:
                tell.warn(f"what the run has taken was not written down: {error}")
    if run.files.has(FSC) and run.files.has(PLAN):
        with suppress(DynaflexError, TypeError, LookupError):
            tell.say(sentence(Plan.from_dict(run.read_json(PLAN)), account.total()))


def spent_of(stored: Mapping[str, Any]) -> Spent:
    """What ``spent.json`` says; nothing of what it does not say."""

    def of(kind: str) -> dict[str, float]:
        return {name: float(stored[kind][name]) for name in STAGES if name in stored.get(kind, {})}

    return Spent(of("seconds"), of("cpu_seconds"), float(stored.get("memory_mb", 0.0)))


def compared(plan: Plan | None, taken: Spent) -> list[tuple[str, str, str]]:
    """Every stage, all of them and memory: what was planned, empty where nothing was, and what it took."""
    planned = {} if plan is None else {**plan.seconds, _ALL: plan.total}
    took = {**taken.seconds, _ALL: sum(taken.seconds.values())}
    memory = "" if plan is None else f"{plan.memory_mb:,.0f} MB"
    return [
        *((name, _words(planned.get(name)), _words(took.get(name))) for name in (*STAGES, _ALL)),
        ("memory", memory, f"{taken.memory_mb:,.0f} MB"),
    ]


def _words(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def sentence(plan: Plan, taken: Spent) -> str:
    """The same in a line for a log."""
    *stages, total, memory = compared(plan, taken)
    each = ", ".join(f"{name} {planned} / {took}" for name, planned, took in stages if took)
    return f"planned {total[1]}, took {total[2]}; planned / taken: {each}; memory {memory[1]} / {memory[2]}"
