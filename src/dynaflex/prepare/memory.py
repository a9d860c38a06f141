"""Fitting work into the memory of a device, and saying before it begins what it will need."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from dynaflex.config import RunConfig
from dynaflex.errors import ResourceError
from dynaflex.machine import available_memory
from dynaflex.prepare.inputs import Inputs
from dynaflex.run.store import KEEP

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
        except torch.OutOfMemoryError as error:
            if size == 1:
                raise ResourceError(
                    "memory.device",
                    "the memory of the device does not hold a single particle",
                    fix="a smaller box, or --device cpu",
                ) from error
            size //= 2


def disk_need(inputs: Inputs, config: RunConfig) -> int:
    """Bytes that a run will write at most: its checkpoints, one more while it is written, its maps and tables."""
    grid, train = inputs.full_imaging.grid, inputs.imaging.grid
    particles = len(inputs.particles)
    # Every parameter is stored with the two moments of Adam.
    state = 3 * 4 * (train.box**3 + particles * (2 * config.latent_dim + 5)) + _NETWORKS * len(config.trained_halves)
    tables = 3 * inputs.particles.copies * inputs.particles.source.path.stat().st_size
    return int((KEEP + 2) * state + _MAPS * 4 * grid.box**3 + tables)


def memory_need(inputs: Inputs) -> int:
    """Bytes of the images that training holds in memory: those of the larger half."""
    particles = inputs.particles
    largest = max(len(np.unique(particles.image[particles.half == half])) for half in (1, 2))
    return 4 * largest * inputs.imaging.grid.box**2


def require_room(path: Path, inputs: Inputs, config: RunConfig) -> None:
    """Refuse a run that its disk or this machine's memory cannot hold, before anything is written.

    Raises:
        ResourceError: it cannot.
    """
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    need, disk = disk_need(inputs, config), shutil.disk_usage(there)
    # What has no size at all is not a disk; that it cannot be written to is said when that is tried.
    if disk.total and need > disk.free:
        raise ResourceError(
            "disk.too-small",
            "this run would not fit on its disk",
            file=path,
            expected=f"{_size(need)} free",
            found=f"{_size(disk.free)} free on the disk of {there}",
            fix="free space, or choose a directory on another disk with -o",
        )
    need, available = memory_need(inputs), available_memory()
    if available is not None and need > available:
        raise ResourceError(
            "memory.images",
            "the images would not fit into the memory of this machine",
            expected=f"{_size(need)} for a training box of {inputs.imaging.grid.box}",
            found=f"{_size(available)} available",
            fix="a smaller --train-box",
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.3g} GB"
