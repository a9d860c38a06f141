"""The maps of a state of a run, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dynaflex.api.paths import AnyPath, optional
from dynaflex.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynaflex.run.directory import Run
    from dynaflex.shapes import IntArray


def state_of(
    run: Run,
    out: AnyPath | None,
    cluster: int | None,
    kind: str,
    around: ArrayLike | None,
    half: int,
    nearest: int | None,
    particles: Sequence[int] | IntArray | None,
    *,
    solver: str = "iterative",
    box: int | None = None,
    symmetry: str | None = None,
    b_factor: float | None = None,
    device: str = "auto",
    gpus: Sequence[int] | None = None,
    threads: int | None = None,
) -> Path:
    """As :meth:`dynaflex.api.runs.Run.reconstruct`, which has the same arguments."""
    import numpy as np

    from dynaflex.io import durable
    from dynaflex.prepare.device import pick_device, with_threads
    from dynaflex.prepare.fingerprint import own_files
    from dynaflex.products.names import ANALYSIS
    from dynaflex.products.states.asked import Asked, reconstruct_state
    from dynaflex.report.reported import rewrite
    from dynaflex.results.half_maps.made import SOLVERS, Recipe
    from dynaflex.results.reopen import Moved
    from dynaflex.run.monitor import shown
    from dynaflex.run.stop import stoppable
    from dynaflex.workers.crew import crew_of

    if solver not in SOLVERS:
        raise UsageError(
            "reconstruct.solver", "there is no such solver", field="solver", expected=" or ".join(SOLVERS), found=solver
        )
    rows = None if particles is None else np.unique(np.asarray(particles, dtype=np.int64))
    place = None if around is None else np.asarray(around, dtype=np.float32)
    said = Asked(cluster, kind, run.path / ANALYSIS, place, half, nearest, rows)
    spared = own_files(run.path) if out is not None else ()
    with (
        shown(), with_threads(threads), crew_of(gpus, device) as crew,
        stoppable(run.path, "call it again") as stop, durable.sparing(spared),
    ):  # fmt: skip
        asked, _ = said.understood(run, None)
        if asked is None:
            raise UsageError(
                "state.none", "no state is named", expected="one of cluster, around and particles",
                fix="name one; the maps of the whole run are in run.maps",
            )  # fmt: skip
        recipe = Recipe(solver, box=box, symmetry=symmetry, b_factor=b_factor)
        there = pick_device(device)
        _, folder = reconstruct_state(run, asked, Moved(), recipe, optional(out), there, stop, crew=crew)
        if out is None:
            with run.locked():
                rewrite(run)
    return folder
