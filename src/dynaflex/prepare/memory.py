"""Fitting work into the memory of a device, and saying before it begins what it will need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from dynaflex.cache import folder as stored
from dynaflex.cache.stored import PRECISION, StoredImages
from dynaflex.checking.findings import Report
from dynaflex.checking.image_checks import ImageLook
from dynaflex.config import RunConfig
from dynaflex.data.preprocess import paired
from dynaflex.errors import ResourceError
from dynaflex.imaging.batch import require_fewer
from dynaflex.io.paths import absolute
from dynaflex.machine import available_memory, free_disk
from dynaflex.prepare.fingerprint import IMAGES, of_prepared
from dynaflex.prepare.images import Imaging
from dynaflex.prepare.inputs import Inputs
from dynaflex.prepare.paths import AUTO, OFF
from dynaflex.run.directory import PROVENANCE, Run
from dynaflex.run.store import KEEP
from dynaflex.shapes import IntArray, Tensor

CACHE = "cache"
"""The folder of a run in which its images are kept ready while it works."""
_TRAIN, _FULL = "train", "full"
_MAPS = 12
_NETWORKS = 4e6
T = TypeVar("T")


def in_smaller_batches(work: Callable[[int], T], size: int) -> T:
    """``work(size)``, or with half of that as often as the memory of the device does not hold it.

    Raises:
        ResourceError: it does not hold a single particle.
    """
    while True:
        try:
            return work(size)
        except Exception as error:
            require_fewer(error, size)
        size //= 2


def disk_need(inputs: Inputs, config: RunConfig) -> int:
    """Bytes that a run will write at most: its checkpoints, one more while it is written, its maps and tables."""
    grid, train = inputs.full_imaging.grid, inputs.imaging.grid
    particles = len(inputs.particles)
    # Every parameter is stored with the two moments of Adam.
    state = 3 * 4 * (train.box**3 + particles * (2 * config.latent_dim + 5)) + _NETWORKS * len(config.trained_halves)
    tables = 3 * inputs.particles.copies * inputs.particles.source.path.stat().st_size
    return int((KEEP + 2) * state + _MAPS * 4 * grid.box**3 + tables)


def cache_need(inputs: Inputs) -> int:
    """Bytes of a cache of all images, training images and whole ones."""
    plan = _plan(inputs)
    return plan.size(tuple(plan.boxes))


def memory_need(inputs: Inputs) -> int:
    """Bytes of the images that training holds in memory: those of the larger half, or none where they are stored."""
    if inputs.imaging.stored is not None:
        return 0
    particles = inputs.particles
    largest = max(len(np.unique(particles.image[particles.half == half])) for half in (1, 2))
    return PRECISION.itemsize * largest * inputs.imaging.grid.box**2


def require_room(path: Path, inputs: Inputs, config: RunConfig) -> None:
    """Refuse a run that its disk cannot hold, before anything is written.

    Raises:
        ResourceError: it cannot.
    """
    need, (free, there) = disk_need(inputs, config), free_disk(path)
    if free is not None and need > free:
        raise ResourceError(
            "disk.too-small",
            "this run would not fit on its disk",
            file=path,
            expected=f"{_size(need)} free",
            found=f"{_size(free)} free on the disk of {there}",
            fix="free space, or choose a directory on another disk with -o",
        )


def place_of_images(cache: str, path: Path, inputs: Inputs, config: RunConfig, copies: int = 2) -> Path | None:
    """The folder in which the images of a run at ``path`` are kept ready, None where they are in memory.

    ``cache`` is ``AUTO``, ``OFF`` or a folder. Left to decide, they are in memory if the ``copies`` of a half that are
    held at once, one of each where nobody else works on it, fill no more than half of what is available, and else on
    the disk of the run.

    Raises:
        ResourceError: they fit nowhere.
    """
    if cache not in (AUTO, OFF):
        return absolute(Path(cache))
    need, available = memory_need(inputs), available_memory()
    if available is None or need <= (available if cache == OFF else available // (2 * copies)):
        return None
    if cache == AUTO:
        require_room(path, inputs, config)
        try:
            stored.require_room(path / CACHE, _plan(inputs), disk_need(inputs, config))
            return path / CACHE
        except ResourceError:
            if need <= available:
                return None
    raise ResourceError(
        "memory.images",
        "the images would not fit into the memory of this machine",
        expected=f"{_size(need)} for a training box of {inputs.imaging.grid.box}",
        found=f"{_size(available)} available",
        fix="--cache DIR on a local disk, or a smaller --train-box",
    )


def place_again(cache: str, run: Run, inputs: Inputs, config: RunConfig, copies: int = 2) -> Path | None:
    """The same for a run that was started before: left to decide, where its images are kept already.

    Raises:
        ResourceError: they fit nowhere.
    """
    there = _known(run) if cache == AUTO else None
    return place_of_images(cache, run.path, inputs, config, copies) if there is None else there


def ready(cache: str, run: Run, inputs: Inputs, *, make: bool) -> Inputs:
    """The inputs of a run whose particles are asked for once more, with images from a cache: from that in the folder
    ``cache``, made where it is missing if all particles are asked for, ``make``; left to decide from the run's own, if
    there is one.

    Errors as :func:`at_hand`.
    """
    folder = _known(run) if cache == AUTO else Path(cache)
    if cache == OFF or folder is None:
        return inputs
    return at_hand(run, inputs, absolute(folder), make=make and cache != AUTO)


def _known(run: Run) -> Path | None:
    """Where a run's images have been kept."""
    known = run.read_json(PROVENANCE).get("cache")
    folders = [run.path / CACHE, *([] if known is None else [Path(known)])]
    return next((folder for folder in folders if folder.is_dir()), None)


def at_hand(run: Run, inputs: Inputs, folder: Path, *, make: bool) -> Inputs:
    """The inputs of a run that this process holds, with images from the cache in a ``folder``, if it is there, or if it
    is to be made: then every image is looked at.

    Raises:
        InputError: an image cannot be used.
        ResourceError: the disk has no room.
        EnvironmentFault: the folder cannot be written.
    """
    both = {_TRAIN: inputs.imaging, _FULL: inputs.full_imaging}
    plan = _plan(inputs, of_prepared(inputs.particles, list(both.values()), run.read_json(IMAGES)["stacks"]))
    if make:
        run.write_provenance(cache=str(folder))
        images = _made(run, inputs, folder, plan, {name: both[name] for name in plan.boxes})
    else:
        images = stored.found(folder, plan)
    if both[_TRAIN].grid == both[_FULL].grid and images:
        images = {**images, _FULL: images[_TRAIN]}
    return replace(
        inputs,
        imaging=replace(both[_TRAIN], stored=images.get(_TRAIN)),
        full_imaging=replace(both[_FULL], stored=images.get(_FULL)),
    )


def _made(
    run: Run, inputs: Inputs, folder: Path, plan: stored.CachePlan, imagings: dict[str, Imaging]
) -> dict[str, StoredImages]:
    particles, report = inputs.particles, Report()
    look, order = ImageLook(particles), _order(inputs)

    def produce(places: IntArray) -> dict[str, Tensor]:
        index = order[places]
        raw = particles.unchecked_images(index)
        look.see(index, raw)
        for problem in look.problems:
            raise particles.words.error(problem)
        both = paired(torch.from_numpy(index))
        images = paired(torch.arange(len(index)))
        restored = particles.restored(torch.from_numpy(raw)[images], both.numpy(), inputs.imaging.diameter)
        return {name: one.of_restored(particles, both, restored)[: len(index)] for name, one in imagings.items()}

    made = stored.made(folder, plan, produce)
    look.note(report)
    report.speak(particles.words)
    for warning in report.warnings:
        run.warn(warning)
    return made


def _plan(inputs: Inputs, key: str = "") -> stored.CachePlan:
    """What a cache holds: training images, and whole ones where that is something else; of copies by symmetry one."""
    boxes = {_TRAIN: inputs.imaging.grid.box, _FULL: inputs.full_imaging.grid.box}
    if boxes[_FULL] == boxes[_TRAIN]:
        del boxes[_FULL]
    particles, order = inputs.particles, _order(inputs)
    place = np.empty(len(order), dtype=np.int64)
    place[particles.image[order]] = np.arange(len(order))
    return stored.CachePlan(key, particles.rows, place[particles.image], boxes)


def _order(inputs: Inputs) -> IntArray:
    """A particle of each image, those of half 1 and those of half 2, each in the order of the table: a half is read
    from end to end."""
    particles = inputs.particles
    first = np.sort(np.unique(particles.image, return_index=True)[1])
    return np.asarray(first[np.lexsort((particles.rows[first], particles.half[first]))])


def _size(count: int) -> str:
    return f"{count / 1e9:.3g} GB"
