"""The whole of a method but its report: prepare, train both halves, reconstruct."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import get_args

import torch

from dynaflex import kernels, spent, tell
from dynaflex.cache.folder import remove
from dynaflex.config import RunConfig, Stage
from dynaflex.costs.account import Account, accounted
from dynaflex.costs.plan import kept, key_of
from dynaflex.errors import StoppedOnRequest
from dynaflex.io.star import write_star
from dynaflex.prepare.before_training import Check, checked, require_able, require_enough
from dynaflex.prepare.fingerprint import fingerprint
from dynaflex.prepare.inputs import InputPaths, Inputs, looked_at, read_inputs
from dynaflex.prepare.memory import CACHE, at_hand, memory_need, place_again, place_of_images, require_room
from dynaflex.prepare.paths import AUTO
from dynaflex.prepare.place import write_frame
from dynaflex.results import maps, table
from dynaflex.results.alignment import rest_at_the_mean
from dynaflex.results.half_maps.made import Recipe
from dynaflex.results.motion import measure_motion
from dynaflex.results.reopen import Moved, remember, reopened
from dynaflex.results.settings import settings_again
from dynaflex.results.support import measure_support
from dynaflex.run.directory import PROVENANCE, Run
from dynaflex.run.files import FSC, TABLE, UNIT
from dynaflex.run.refusals import to_resume
from dynaflex.run.stop import Stop, exit_markers, stoppable
from dynaflex.training import checkpoint
from dynaflex.training.loop import train_half
from dynaflex.training.method import Config, Method, Plan, Work
from dynaflex.workers.crew import Crew
from dynaflex.workers.halves import Each, Halves

STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True)
class Task:
    """What is asked of a run: the last stage ``until``, the ``device``, who hears how it ends, where its images are
    kept ready, a folder or ``AUTO`` or ``OFF``, and who works on it, where it is a ``crew``.

    All work in the run is done inside ``reported(run)``.
    """

    until: Stage
    device: torch.device
    reported: Callable[[Run], AbstractContextManager[None]]
    cache: str = AUTO
    crew: Crew | None = None

    @property
    def copies(self) -> int:
        """How many processes of this machine have the images of a half in memory at once."""
        return 2 if self.crew is None else max(2, self.crew.here)


def start_run(
    method: Method[Config, Plan], path: Path, paths: InputPaths, config: Config, task: Task, check: Check = checked
) -> Run:
    """Start a run at ``path`` and take it through the stages.

    Everything is examined before the directory is made, how well particles and map match among it. A run that fails
    before anything of it was saved leaves nothing behind but its log.

    Raises:
        InputError: the inputs do not fit.
        UsageError: the settings cannot work, or the directory holds something else.
        ResourceError: the disk or the memory is too small.
        StoppedOnRequest: a signal or RELION asked to stop; the run can be resumed.
    """
    with stoppable(path, to_resume(path)) as stop, spent.counted() as taken:
        with spent.on("reading"):
            inputs = read_inputs(paths, config)
            require_able(inputs, method.name, method.reads_tilt_series, task.crew is not None)
            place = place_of_images(task.cache, path, inputs, config, task.copies)
            if place is None or task.until == "prepare":
                # A cache looks at every image while it is made.
                inputs = looked_at(inputs)
            fit = check(inputs)
            plan = method.examine(inputs, config)
            asked, config = config, method.settled(config, plan)
            if task.until != "prepare":
                require_enough(inputs, config)
            require_room(path, inputs, config)
            known = fingerprint(paths, inputs.particles)
            costs = kept(key_of(method.name, asked, known, task.device))
        run = Run.create(path, method.name, config.model_dump(), paths.as_dict(), known)
        work = Work(run, inputs, config, plan, task.device)
        with (
            run.locked(), exit_markers(path), _dissolved_if_empty(run), accounted(run, taken, costs) as account,
            task.reported(run),
        ):  # fmt: skip
            remember(run, inputs)
            fit.note(run)
            _go_on(work, method, task, stop, place, account)
    return run


def resume_run(method: Method[Config, Plan], path: Path, moved: Moved, asked: Config | None, task: Task) -> Run:
    """Take a run that was started before through the stages that are left.

    Inputs that have ``moved`` are taken if they are the same by content; ``asked`` are settings that the user repeats.
    Files of the run that are damaged and can be made again are made again.

    Raises:
        UsageError: it was started with other settings.
        InputError, DamagedCheckpointError: its inputs are gone or are others, or a file of the run is damaged.
        ResourceError, StoppedOnRequest: as :func:`start_run`.
    """
    with stoppable(path, to_resume(path)) as stop, spent.counted() as taken:
        with spent.on("reading"):
            run = Run.open(path)
            config = settings_again(run, method, asked)
            inputs = reopened(run, moved)
            require_able(inputs, method.name, method.reads_tilt_series, task.crew is not None)
            plan = method.examine(inputs, config)
        work = Work(run, inputs, config, plan, task.device)
        with run.locked(), exit_markers(path), accounted(run, taken) as account, task.reported(run):
            remember(run, inputs)
            _forget_damaged(run)
            place = place_again(task.cache, run, inputs, config, task.copies)
            _go_on(work, method, task, stop, place, account)
    return run


def _go_on(
    work: Work[Config, Plan],
    method: Method[Config, Plan],
    task: Task,
    stop: Stop,
    place: Path | None,
    account: Account,
) -> None:
    """The stages of the ``task``, each but for what is there already; images are kept in ``place``, or in memory."""
    run = work.run
    stages = STAGES[: STAGES.index(task.until) + 1]
    with spent.on("reading"):
        _remember_kernels(run, work.device)
        prepare(work, method)
        if place is not None and "train" in stages and not run.files.has(FSC):
            work = replace(work, inputs=at_hand(run, work.inputs, place, make=bool(_untrained(work))))
    with Halves(run, stop, work.device, task.crew) as halves:
        if "train" in stages:
            _train(work, method, halves)
            gather(work, halves.each)
        if "reconstruct" in stages and not run.files.has(FSC):
            reconstruct(work, halves.each)
    if "reconstruct" in stages:
        remove(run.path / CACHE)
    account.write()


def gather(work: Work[Config, Plan], each: Each) -> None:
    """Write down what was trained, and ask images that nothing was learned from what it is worth."""
    with spent.on("final latents"):
        table.collect(work.run, work.inputs)
    with spent.on("motion"):
        measure_support(work.run, work.inputs, work.device, each)


def reconstruct(work: Work[Config, Plan], each: Each) -> None:
    """Measure how far everything moves, and make the maps."""
    run, inputs = work.run, work.inputs
    with spent.on("motion"):
        with tell.doing("bringing the halves to one conformation"):
            rest_at_the_mean(run)
        with tell.doing("how far everything moves"):
            measure_motion(run, inputs, work.device)
    with spent.on("reconstruction"):
        maps.reconstruct_run(run, inputs, work.device, each, Recipe(work.config.solver))


@spent.on("training")
def _train(work: Work[Config, Plan], method: Method[Config, Plan], halves: Halves) -> None:
    """Train the halves that are not there yet."""
    run, inputs, left = work.run, work.inputs, _untrained(work)
    if left:
        training = partial(train_half, replace(work, inputs=inputs.without_table()), method)
        halves.each(training, left, memory_need(inputs))
        run.metrics.close()


def _untrained(work: Work[Config, Plan]) -> list[int]:
    return [half for half in work.config.trained_halves if not checkpoint.is_final(work.run, half)]


def _remember_kernels(run: Run, device: torch.device) -> None:
    """Write down what computes the run from here on; one that is resumed elsewhere may have had others before."""
    described, known = kernels.described(device), run.read_json(PROVENANCE).get("kernels", [])
    tell.say(f"kernels: {described}")
    if known[-1:] != [described]:
        run.write_provenance(kernels=[*known, described])


@contextmanager
def _dissolved_if_empty(run: Run) -> Iterator[None]:
    """Where what is done inside fails before anything was saved, take the run away: its folder is free for another try.

    A run that was asked to stop is kept, to be resumed.
    """
    try:
        yield
    except StoppedOnRequest:
        raise
    except Exception:
        if not run.store.names():
            run.dissolve()
        raise


def _forget_damaged(run: Run) -> None:
    """Remove what is damaged and is made again by the stages, and with it all maps, which come together."""
    damaged = [name for name in run.files.names() if run.files.fault(name) and run.is_made_again(name)]
    for name in damaged:
        tell.warn(f"{name} of this run is damaged, and is made again")
        run.files.forget(name)
    if damaged:
        run.files.forget(FSC)


def prepare(work: Work[Config, Plan], method: Method[Config, Plan]) -> None:
    """Say what is used, what is excluded, and what the halves share."""
    run, inputs = work.run, work.inputs
    particles = inputs.particles
    excluded = [{"row": item.row, "reason": item.reason} for item in particles.excluded]
    used = len(particles)
    counts: dict[str, object] = {"table": used + len(excluded), "used": used, "excluded": excluded}
    if inputs.unit is not None:
        counts["images"] = particles.distinct
    if particles.tilted is not None:
        counts["tilted"] = particles.distinct
    run.write_provenance(counts=counts)
    for message in inputs.warnings:
        run.warn(message)
    write_frame(run, inputs.frame, inputs.imaging.grid)
    if inputs.unit is not None:
        maps.write_volume(run, UNIT, inputs.unit, inputs.full_imaging.grid)
    if not run.files.has(TABLE):
        # A run that is resumed may have its latents in there.
        with run.files.writing(TABLE) as path:
            write_star(table.table_with_halves(particles, work.config.seed), path)
    table.keep_cryosparc(run, inputs.paths.particles)
    tell.say(_used(inputs, work.config))
    run.write_provenance(shared_between_halves=[*_shared(inputs, work.config), *method.prepare(work)])


def _used(inputs: Inputs, config: RunConfig) -> str:
    particles = inputs.particles
    excluded = len(particles.excluded) // particles.copies
    if particles.tilted is not None:
        return (
            f"{particles.distinct:,} particles used, in {len(particles):,} images of tilt series; {excluded:,} excluded"
        )
    if inputs.unit is None:
        return f"{len(particles):,} particles used, {excluded:,} excluded"
    whose = "within its mask" if inputs.given_mask is None and inputs.paths.mask is not None else "found in the map"
    return (
        f"{particles.distinct:,} particles used, {excluded:,} excluded; {config.symmetry}: {len(particles):,} copies, "
        f"one for each unit; what moves is one unit, {whose}"
    )


def _shared(inputs: Inputs, config: RunConfig) -> list[str]:
    if config.half_sets == "shared":
        return ["the whole model of the motion: both halves were trained as one"]
    mask = "a mask made from the consensus map" if inputs.given_mask is None else "the mask"
    if inputs.independent_starts:
        return [mask, "which box, pixel size and poses the refinement gave"]
    return [mask, f"the consensus map, low-passed to {config.shared_resolution:g} Å, to start from"]
