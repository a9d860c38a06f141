"""Conformations as maps, named and scaled to be played as a series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from dynaflex import tell
from dynaflex.analyze.axes import principal_axes
from dynaflex.density.contour import Coarse, level_enclosing
from dynaflex.errors import UsageError
from dynaflex.grid import Grid
from dynaflex.io.mrc import write_map
from dynaflex.prepare.place import place_of
from dynaflex.reconstruct.carry import CarriedMap
from dynaflex.reconstruct.postprocess import merge
from dynaflex.results.trained import TrainedHalf, config_of
from dynaflex.run.directory import Run
from dynaflex.run.files import FSC, has_map, read_map
from dynaflex.shapes import Tensor

Source = Literal["merged", "half"]
"""The map that is carried: the one merged of both halves, or the half's own."""
_SPREAD = 2.0


def along_axis(latents: Tensor, axis: int, frames: int) -> Tensor:
    """Latents ``(frames k)`` along a principal axis of ``(p k)``, from -2 to +2 standard deviations around the mean.

    The ``axis`` is counted from 0. It points to where its largest entry is positive, as in every other place that shows
    it.
    """
    found = principal_axes(latents.numpy(), axis + 1)
    steps = torch.linspace(-_SPREAD, _SPREAD, frames, dtype=torch.float64)[:, None]
    mean, direction = torch.from_numpy(found.mean), torch.from_numpy(found.axes[axis])
    return (mean + steps * float(found.variance[axis]) ** 0.5 * direction).to(latents.dtype)


def from_one(axis: int, count: int) -> int:
    """The place, from 0, of an axis that a person counts from 1.

    Raises:
        UsageError: there is no such axis.
    """
    if not 1 <= axis <= count:
        raise UsageError("volumes.axis", f"there is no axis {axis}", expected=f"from 1 to {count}")
    return axis - 1


def conformation_of(halves: list[TrainedHalf], row: int) -> tuple[TrainedHalf, Tensor]:
    """The particle in a row of the input table: the one of ``halves`` it belongs to, and its latents ``(k)``.

    Raises:
        UsageError: the particle is in none of them.
    """
    owner = next((half for half in halves if bool((half.rows == row).any())), halves[0])
    return owner, owner.latents_of([row])[0]


def write_maps(
    run: Run,
    conformations: Sequence[tuple[TrainedHalf, Tensor]],
    folder: Path,
    source: Source = "merged",
    title: str = "maps",
    ending: str = "",
    first: int = 0,
) -> list[str]:
    """Write ``vol_000.mrc ...``, or from another ``first`` number on, for pairs of a half and latents ``(k)``, their
    names with an ``ending``; returns these.

    The map that :func:`map_at_rest` gives for the ``source`` is carried by the flow of the half. All maps keep its grey
    scale.
    """
    halves = {trained.half: trained for trained, _ in conformations}
    at_rest = {half: carried_map(run, trained, source) for half, trained in halves.items()}
    names = [f"vol_{first + number:03d}{ending}.mrc" for number in range(len(conformations))]
    for name, (trained, z) in zip(names, tell.each(conformations, title), strict=True):
        carried = at_rest[trained.half]
        place = place_of(run, carried.grid)
        write_map(folder / name, carried.at(z.float()).numpy(), carried.grid.pixel_size, place)
    return names


def coarse(run: Run, volume: Tensor, grid: Grid) -> Coarse:
    """A map ``(d d d)`` of a run where its molecule can be told from noise: at the resolution that the halves share."""
    return Coarse.of(volume, grid, config_of(run).shared_resolution)


def level_at_rest(run: Run, trained: TrainedHalf, source: Source = "merged") -> float:
    """The level of the conformations of a half: that at which the map which they are made of shows its molecule.

    They keep its grey scale. The explorer opens at the same level.
    """
    volume, grid = map_at_rest(run, trained, source)
    return level_enclosing(volume, coarse(run, volume, grid).filled)


def carried_map(run: Run, trained: TrainedHalf, source: Source = "merged") -> CarriedMap:
    """The map at rest, ready to be sent into the conformations of a half."""
    volume, grid = map_at_rest(run, trained, source)
    return CarriedMap(volume, grid, trained.model.deformation, trained.model.density.home())


def map_at_rest(run: Run, trained: TrainedHalf, source: Source = "merged") -> tuple[Tensor, Grid]:
    """The corrected map ``(d d d)`` that conformations of a half are made of, and its grid.

    ``merged`` is that of all particles within the mask, at each place weighted by what the FSC there says is signal;
    ``half`` is the half's own, as it was reconstructed. Before there are maps, the trained density takes their place.
    """
    own = f"map_half{trained.half}"
    if not has_map(run, own):
        grid = trained.model.grid
        return trained.model.density.volume(grid).detach(), grid
    if source == "half":
        return _read(run, own)
    filtered, grid = _read(run, "map_local")
    mask, _ = _read(run, "mask")
    return filtered * mask, grid


def merged_map(run: Run, kind: str) -> tuple[Tensor, Grid]:
    """The half-maps of a ``kind``, ``map`` or ``rigid``, merged and weighted by their FSC ``(d d d)``; its grid."""
    if kind == "map":
        return _read(run, "map")
    (first, grid), (second, _) = (_read(run, f"{kind}_half{half}") for half in (1, 2))
    return merge(first, second, torch.tensor(run.require_json(FSC)[kind]["corrected"])), grid


def _read(run: Run, name: str) -> tuple[Tensor, Grid]:
    found = read_map(run, name)
    return torch.from_numpy(found.data), Grid(found.box, found.pixel_size or 1.0)
