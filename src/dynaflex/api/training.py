"""Training from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynaflex.api.paths import AnyPath, optional
from dynaflex.api.runs import Run
from dynaflex.api.words import speaks_python

if TYPE_CHECKING:
    from dynaflex.config import RunConfig, Stage


@speaks_python
def train(
    method: str,
    particles: AnyPath,
    map: AnyPath,
    *,
    out: AnyPath,
    mask: AnyPath | None = None,
    half_maps: tuple[AnyPath, AnyPath] | None = None,
    datadir: AnyPath | None = None,
    strip_prefix: str | None = None,
    until: Stage = "report",
    device: str = "auto",
    gpus: Sequence[int] | None = None,
    threads: int | None = None,
    cache: AnyPath = "auto",
    skip_check: bool = False,
    **settings: Any,
) -> Run:
    """Learn the motion with a ``method`` and reconstruct corrected half-maps.

    The same as ``dynaflex METHOD PARTICLES --map MAP -o OUT``: the particles are compared with the map first, progress
    is printed, and the commands can look at the run, resume it and ask it too. ``settings`` are the options of the
    command with underscores for dashes (``latent_dim=3``, ``class_=1``), and the files that the method alone takes
    (``mesh="mesh.npz"``). Lengths in Å.

    Args:
        method: ``"dynamight"``, ``"flex"`` or another that is installed, as ``dynaflex --help`` lists them.
        particles: particle table of a finished refinement, RELION's STAR or cryoSPARC's ``.cs``.
        map: consensus map, white molecules.
        out: run directory, made where missing.
        mask: soft mask around all that may move; default from the map.
        half_maps: consensus half-maps 1 and 2: each half starts from its own.
        datadir: where to look for image files.
        strip_prefix: dropped from the beginning of image names before looking for them.
        until: last stage: ``"prepare"``, ``"train"``, ``"reconstruct"`` or ``"report"``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        gpus: GPUs that work together, ``[0, 1]``; with ``device="cpu"`` as many processes.
        threads: of the CPU; default one for each core that may be used.
        cache: a folder on a local disk in which images are kept ready, or ``"off"``: in memory; default in memory if
            they fit, else in ``out`` until the run is done.
        skip_check: train even if the particles do not match the map.

    Raises:
        UsageError: there is no such method or setting, or it cannot work.
        InputError: a file is missing or damaged, or they do not fit each other.
        EnvironmentFault, ResourceError: the device does not exist, or memory or disk is too small.
        RunBusyError: ``out`` already holds a run.
        StoppedOnRequest: it was interrupted; :func:`resume` goes on.

    Example:
        >>> run = df.train("flex", "particles.star", "consensus.mrc", mask="mask.mrc", out="run", latent_dim=2)
    """
    from dynaflex.io import durable
    from dynaflex.io.paths import absolute
    from dynaflex.pipeline import start_run
    from dynaflex.prepare.before_training import checked, unchecked
    from dynaflex.prepare.device import with_threads
    from dynaflex.prepare.fingerprint import input_files
    from dynaflex.prepare.paths import InputPaths
    from dynaflex.report.reported import reported_task
    from dynaflex.run.monitor import shown
    from dynaflex.run.refusals import to_resume
    from dynaflex.training.installed import method_named
    from dynaflex.workers.crew import crew_of

    config, files = _settings(method, settings)
    halves = None if half_maps is None else (Path(half_maps[0]), Path(half_maps[1]))
    paths = InputPaths(
        Path(particles),
        Path(map),
        optional(mask),
        halves,
        datadir=optional(datadir),
        strip_prefix=strip_prefix,
        own=files,
    )
    path = Path(out)
    spared = (file for _, file in input_files(paths))
    with shown(), with_threads(threads), durable.sparing(spared), crew_of(gpus, device) as crew:
        task = reported_task(until, device, to_resume(absolute(path)), str(cache), crew)
        start_run(method_named(method), path, paths, config, task, unchecked if skip_check else checked)
    return Run(path)


@speaks_python
def resume(
    run: AnyPath,
    *,
    particles: AnyPath | None = None,
    map: AnyPath | None = None,
    mask: AnyPath | None = None,
    datadir: AnyPath | None = None,
    strip_prefix: str | None = None,
    until: Stage = "report",
    device: str = "auto",
    gpus: Sequence[int] | None = None,
    threads: int | None = None,
    cache: AnyPath = "auto",
) -> Run:
    """Go on with a run where it stopped, with its own inputs and settings; the same as ``dynaflex resume RUN``.

    Args:
        run: run directory.
        particles, map, mask, datadir, strip_prefix: inputs that have moved; they are compared with those that the run
            was started with.
        until, device, gpus, threads, cache: as for :func:`train`.

    Raises:
        InputError: there is no run there, or its inputs are gone or are others.
        DamagedCheckpointError: a file of the run is damaged and cannot be made again.
        RunBusyError: another process works in it.
        EnvironmentFault, ResourceError, StoppedOnRequest: as :func:`train`.

    Example:
        >>> run = df.resume("run")
    """
    from dynaflex.io import durable
    from dynaflex.io.paths import absolute
    from dynaflex.pipeline import resume_run
    from dynaflex.prepare.device import with_threads
    from dynaflex.report.reported import reported_task
    from dynaflex.results.reopen import Moved
    from dynaflex.results.settings import open_run
    from dynaflex.results.trained import method_of
    from dynaflex.run.monitor import shown
    from dynaflex.run.refusals import to_resume
    from dynaflex.workers.crew import crew_of

    path = Path(run)
    opened = open_run(path)
    moved = Moved(optional(particles), optional(map), optional(mask), optional(datadir), strip_prefix)
    given = (moved.particles, moved.consensus, moved.mask)
    spared = (file for file in given if file is not None)
    with shown(), with_threads(threads), durable.sparing(spared), crew_of(gpus, device) as crew:
        task = reported_task(until, device, to_resume(absolute(path)), str(cache), crew)
        resume_run(method_of(opened), path, moved, None, task)
    return Run(path)


def _settings(method: str, given: dict[str, Any]) -> tuple[RunConfig, dict[str, Path]]:
    """The settings of a method, and the files that it alone takes by their names among the input paths."""
    from dynaflex.config import configuration
    from dynaflex.training.installed import method_named

    config = method_named(method).config
    files = {
        config.files[key].name: Path(value) for key, value in given.items() if key in config.files and value is not None
    }
    # Python's own words cannot be names: class_ stands for class.
    keys = {config.field_of(key.removesuffix("_")): key for key in given if key not in config.files}
    values = {field: given[key] for field, key in keys.items()}
    return configuration(config, values, lambda field: keys.get(field, field)), files
