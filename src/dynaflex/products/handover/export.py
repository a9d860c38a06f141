"""What a run found, in the form that other programs take."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from dynaflex.density.contour import level_enclosing
from dynaflex.errors import UsageError
from dynaflex.grid import Grid
from dynaflex.io import durable
from dynaflex.io.mrc import write_map
from dynaflex.palettes import CORRECTED, HALVES, RIGID, SCALE_OF, limits_of
from dynaflex.products.chimerax.script import Played, Script, play
from dynaflex.products.cryosparc.handed import ForCryosparc, to_cryosparc
from dynaflex.products.handover.cryodrgn import to_cryodrgn
from dynaflex.products.names import Program
from dynaflex.products.series import main_series, write_series
from dynaflex.products.space import conformation_space
from dynaflex.products.subset import project_of, write_subset
from dynaflex.results.trained import load_half
from dynaflex.results.volumes import coarse, level_at_rest, merged_map
from dynaflex.run.directory import Run
from dynaflex.run.files import FSC, LATENT_COLUMN, TABLE, has_map, particles_shown, read_latents, read_map
from dynaflex.shapes import Tensor

RELION_HALF = "run_half{}_class001_unfil.mrc"
_FRAMES = 11
_GUINIER_FROM, _FOR_GUINIER = 10.0, 8.0
"""A B-factor is the slope of the power of the map between 10 Å and its resolution, which must leave room for a line."""
_RESOLUTION = "local_resolution"


def export(run: Run, program: Program, out: Path, named: Path, also: ForCryosparc | None = None) -> list[str]:
    """Write the files that a program takes into a folder; what to do with them, line by line, once the folder is
    ``named`` so. ``also`` is for cryoSPARC alone.

    Raises:
        UsageError: the run has no maps yet, or ``also`` is given for another program; else as :func:`to_cryosparc`.
    """
    if not run.files.has(FSC):
        raise UsageError(
            "export.no-maps", "this run has no maps yet", file=run.maps,
            fix="take it to its end first: dynaflex resume, or dynaflex reconstruct",
        )  # fmt: skip
    if program == "cryosparc":
        return to_cryosparc(run, out, named, also or ForCryosparc())
    if also is not None:
        raise UsageError(
            "export.for-cryosparc", "only cryoSPARC is handed particles of its own, and a path",
            expected="--to cryosparc", fix="leave out --particles and --path",
        )  # fmt: skip
    return {"relion": _to_relion, "chimerax": _to_chimerax, "cryodrgn": to_cryodrgn}[program](run, out, named)


def _to_relion(run: Run, out: Path, named: Path) -> list[str]:
    """The table with the latents, the half-maps under the names that PostProcess pairs, the merged map, mask."""
    table = _table_for_relion(run, out / "particles.star", named / "particles.star")
    for half in (1, 2):
        durable.copy(run.verified(f"maps/map_half{half}.mrc"), out / RELION_HALF.format(half))
    durable.copy(run.verified("maps/map.mrc"), out / "run_class001.mrc")
    durable.copy(run.verified("maps/mask.mrc"), out / "mask.mrc")
    pixel_size = read_map(run, "map").pixel_size
    command = ["relion_postprocess", "--i", str(named / RELION_HALF.format(1)), "--o", str(named / "postprocess")]
    command += ["--mask", str(named / "mask.mrc"), "--angpix", f"{pixel_size:g}"]
    finest = run.require_json(FSC)["deformed"]["resolution"]["0.143"]
    sharpens = finest is not None and finest < _FOR_GUINIER
    if sharpens:
        command += ["--auto_bfac", "--autob_lowres", f"{_GUINIER_FROM:g}"]
    lines = ["with RELION, typed where you are:", f"  {shlex.join(command)}"]
    if not sharpens:
        lines.append(
            f"it will not sharpen: a B-factor is read from beyond {_GUINIER_FROM:g} Å, and the maps end too near to "
            "that; --adhoc_bfac takes one of yours"
        )
    return [*lines, table]


def _table_for_relion(run: Run, out: Path, named: Path) -> str:
    """Write the table that RELION knows and say what it is: of tilt series that of whole particles, without latents."""
    rows = read_latents(run).rows
    project = project_of(run)
    where = "" if project is None else f", {project}"
    use = f"use it in the folder of your RELION project{where}, from which the paths in it lead to the images"
    if len(np.unique(particles_shown(run))) < len(rows):
        write_subset(run, rows, out)
        return f"{named} has a row for each particle, in the place of particles.star in your optimisation set; {use}"
    durable.copy(run.verified(TABLE), out)
    return f"{named} is your table with the latents as columns _{LATENT_COLUMN}1 and on; {use}"


def _to_chimerax(run: Run, out: Path, named: Path) -> list[str]:
    """Three scripts: the map before and after with a series, the half-maps at one level, and local resolution.

    Before and after are shown at the levels at which both enclose what the molecule fills in the corrected map.
    """
    stored = read_map(run, "map")
    grid = Grid(stored.box, stored.pixel_size or 1.0)
    before, after = merged_map(run, "rigid")[0], torch.from_numpy(stored.data)
    filled = coarse(run, after, grid).filled
    write_map(out / "before.mrc", before.numpy(), grid.pixel_size, stored.place)
    durable.copy(run.verified("maps/map.mrc"), out / "after.mrc")
    trained = load_half(run, 1)
    series = main_series(conformation_space(run), 1, _FRAMES)[0]
    names = [f"{series.name}/{name}" for name in write_series(run, trained, series, out / series.name)]
    script = Script()
    first, second = (
        script.open_map(name, level_enclosing(volume, filled), colour)
        for name, volume, colour in (("before.mrc", before, RIGID), ("after.mrc", after, CORRECTED))
    )
    moving = script.open_series(Played(names, level_at_rest(run, trained), CORRECTED))
    script.do(f"transparency #{first} 60", f"hide #{moving} models", "view", play([moving]))
    script.write(out / "dynaflex.cxc")
    todo = [
        f"in ChimeraX: open {named / 'dynaflex.cxc'}",
        f"#{first} is the map without motion (grey), #{second} the corrected one (blue); for the movement: "
        f"hide #{first},{second} models; show #{moving} models",
    ]
    _half_maps(run, filled, out).write(out / "half_maps.cxc")
    todo.append(f"the half-maps, at one level: open {named / 'half_maps.cxc'}")
    if has_map(run, _RESOLUTION):
        _local_resolution(run, after, level_enclosing(after, filled), out).write(out / "local_resolution.cxc")
        todo.append(f"the corrected map, coloured by local resolution: open {named / 'local_resolution.cxc'}")
    return todo


def _half_maps(run: Run, filled: int, out: Path) -> Script:
    """A script with the corrected half-maps, at the level at which their mean encloses so many voxels."""
    mean = torch.zeros(())
    for half in HALVES:
        durable.copy(run.verified(f"maps/map_half{half}.mrc"), out / f"half{half}.mrc")
        mean = mean + torch.from_numpy(read_map(run, f"map_half{half}").data) / len(HALVES)
    level = level_enclosing(mean, filled)
    script = Script()
    for half, colour in HALVES.items():
        script.open_map(f"half{half}.mrc", level, colour)
    script.do("transparency #2 50", "view")
    return script


def _local_resolution(run: Run, after: Tensor, level: float, out: Path) -> Script:
    """A script with the corrected map at a level, coloured by its local resolution, and a key."""
    stored = read_map(run, _RESOLUTION)
    inside = (stored.data > 0) & (after.numpy() > level)
    limits = limits_of(_RESOLUTION, stored.data[inside])
    # The surface can leave the mask, beyond which nothing was measured: the nearest voxel speaks there.
    nearest = distance_transform_edt(stored.data <= 0, return_distances=False, return_indices=True)
    write_map(out / "local_resolution.mrc", stored.data[tuple(nearest)], stored.pixel_size or 1.0, stored.place)
    script = Script()
    surface = script.open_map("after.mrc", level, CORRECTED)
    script.colour_by(surface, "local_resolution.mrc", SCALE_OF[_RESOLUTION], limits)
    script.key(SCALE_OF[_RESOLUTION], limits, "local resolution, Å")
    script.do("view")
    return script
