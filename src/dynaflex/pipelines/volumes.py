"""Conformations as maps, named and scaled to be played as a series."""

from __future__ import annotations

from pathlib import Path

import torch

from dynaflex import fourier, tell
from dynaflex.analyze.embedding import principal_axes
from dynaflex.errors import UsageError
from dynaflex.grid import Grid
from dynaflex.io import durable
from dynaflex.io.mrc import read_map, write_map
from dynaflex.pipelines.predict import TrainedHalf
from dynaflex.reconstruct.convect import convect
from dynaflex.run.directory import Run
from dynaflex.shapes import FloatArray, Tensor
from dynaflex.validate.fsc import fourier_shell_correlation, resolution_at

_SPREAD = 2.0


def along_axis(latents: Tensor, axis: int, frames: int) -> Tensor:
    """Latents ``(frames k)`` along a principal axis of ``(p k)``, from -2 to +2 standard deviations around the mean.

    The axis points to where its largest entry is positive, as in every other place that shows it.

    Raises:
        UsageError: there is no such axis.
    """
    if not 0 <= axis < latents.shape[1]:
        raise UsageError("volumes.axis", f"no axis {axis}", expected=f"0 to {latents.shape[1] - 1}")
    found = principal_axes(latents.numpy(), axis + 1)
    steps = torch.linspace(-_SPREAD, _SPREAD, frames, dtype=torch.float64)[:, None]
    mean, direction = torch.from_numpy(found.mean), torch.from_numpy(found.axes[axis])
    return (mean + steps * float(found.variance[axis]) ** 0.5 * direction).to(latents.dtype)


def conformation_of(halves: list[TrainedHalf], row: int) -> tuple[TrainedHalf, Tensor]:
    """The particle in a row of the input table: the one of ``halves`` it belongs to, and its latents ``(k)``.

    Raises:
        UsageError: the particle is in none of them.
    """
    owner = next((half for half in halves if bool((half.rows == row).any())), halves[0])
    return owner, owner.latents_of([row])[0]


def write_volumes(run: Run, conformations: list[tuple[TrainedHalf, Tensor]], out: Path) -> int:
    """Write ``vol_000.mrc ...`` for pairs of a half and latents ``(k)``, and a ChimeraX script; returns how many.

    The corrected half-map is carried along, low-passed to where its FSC with the other half falls to 0.5; before there
    are half-maps, the trained density takes its place. All maps keep the grey scale of the half-maps.
    """
    out.mkdir(parents=True, exist_ok=True)
    level = 0.0
    halves = {trained.half: trained for trained, _ in conformations}
    at_rest = {half: map_at_rest(run, trained) for half, trained in halves.items()}
    for number, (trained, z) in enumerate(tell.each(conformations, f"maps in {out.name}")):
        shown, grid = at_rest[trained.half]
        volume = convect(shown, grid, trained.displacements, z.float())
        if number == 0:
            level = float(volume.flatten().kthvalue(int(0.98 * volume.numel())).values)
        write_map(out / f"vol_{number:03d}.mrc", volume.numpy(), grid.pixel_size)
    script = [
        "set bgColor white",
        f"open {' '.join(f'vol_{number:03d}.mrc' for number in range(len(conformations)))} vseries true",
        f"volume all level {level:.6g} color cornflowerblue step 1",
        "surface dust all size 10",
        "lighting soft",
        "vseries play #1 direction oscillate loop true",
    ]
    durable.write_text(out / "volumes.cxc", "\n".join(script) + "\n")
    return len(conformations)


def map_at_rest(run: Run, trained: TrainedHalf) -> tuple[Tensor, Grid]:
    """The corrected half-map ``(d d d)``, low-passed to where its FSC with the other half falls to 0.5, and its grid;
    before there are half-maps, the trained density."""
    names = [run.maps / f"map_half{half}.mrc" for half in (trained.half, 3 - trained.half)]
    if not all(name.exists() for name in names):
        return trained.model.density.volume(trained.model.grid), trained.model.grid
    own, other = (read_map(name) for name in names)
    return low_passed(own.data, own.data, other.data, Grid(own.box, own.pixel_size or 1.0), 0.5)


def low_passed(
    data: FloatArray, first: FloatArray, second: FloatArray, grid: Grid, threshold: float
) -> tuple[Tensor, Grid]:
    """A map ``(d d d)`` low-passed to where the FSC of two half-maps falls to ``threshold``, and its grid."""
    volume = torch.from_numpy(data)
    fsc = fourier_shell_correlation(torch.from_numpy(first), torch.from_numpy(second))
    resolution = resolution_at(grid.shell_frequencies(), fsc, threshold)
    return (volume if resolution is None else fourier.low_pass(volume, grid, resolution)), grid
