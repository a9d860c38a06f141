"""What a run took, beside what it was planned to take, as the rows of a table."""

from __future__ import annotations

from dynaflex.costs.account import compared, spent_of
from dynaflex.costs.plan import Plan
from dynaflex.report.facts.files import Record

_HEAD = ("stage", "planned", "taken")


def taken_rows(spent: Record | None, plan: Record | None) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Rows and head, from ``spent.json`` and ``plan.json``; no rows of a run that does not know what it took.

    Without a plan nothing is said of it. The report's own time is not known while it is written.
    """
    if not spent:
        return [], _HEAD
    try:
        planned = Plan.from_dict(plan) if plan else None
        found = compared(planned, spent_of(spent))
    except (TypeError, LookupError, ValueError, AttributeError):
        return [], _HEAD
    rows: list[tuple[str, ...]] = [row for row in found if row[2]]
    return (rows, _HEAD) if planned else ([(row[0], row[2]) for row in rows], (_HEAD[0], _HEAD[2]))
