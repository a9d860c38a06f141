"""What a run found, in the form that other programs take."""

from __future__ import annotations

import shlex
from pathlib import Path

import torch

from dynaflex.density.placement import automatic_threshold
from dynaflex.errors import UsageError
from dynaflex.io import durable
from dynaflex.io.mrc import read_map as read_mrc
from dynaflex.io.mrc import write_map
from dynaflex.products import chimerax
from dynaflex.products.analyse import place_of_box
from dynaflex.products.cryosparc.handed import ForCryosparc, to_cryosparc
from dynaflex.products.names import Program
from dynaflex.products.series import main_series, write_series
from dynaflex.products.space import conformation_space
from dynaflex.results.trained import load_half
from dynaflex.results.volumes import merged_map
from dynaflex.run.directory import Run
from dynaflex.run.files import FSC, LATENT_COLUMN, TABLE, read_map

RELION_HALF = "run_half{}_class001_unfil.mrc"
_FRAMES = 11


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
    return {"relion": _to_relion, "chimerax": _to_chimerax}[program](run, out, named)


def _to_relion(run: Run, out: Path, named: Path) -> list[str]:
    """The table with the latents, the half-maps under the names that PostProcess pairs, the merged map, mask."""
    _copy(run.verified(TABLE), out / "particles.star")
    for half in (1, 2):
        _copy(run.verified(f"maps/map_half{half}.mrc"), out / RELION_HALF.format(half))
    _copy(run.verified("maps/map.mrc"), out / "run_class001.mrc")
    _copy(run.verified("maps/mask.mrc"), out / "mask.mrc")
    pixel_size = read_map(run, "map").pixel_size
    command = ["relion_postprocess", "--i", str(named / RELION_HALF.format(1)), "--o", str(named / "postprocess")]
    command += ["--mask", str(named / "mask.mrc"), "--angpix", f"{pixel_size:g}"]
    command += ["--auto_bfac", "--autob_lowres", "10"]
    return [
        "with RELION, typed where you are:",
        f"  {shlex.join(command)}",
        f"{named / 'particles.star'} is your table with the latents as columns _{LATENT_COLUMN}1 and on; use it in the "
        "folder of your RELION project, from which the paths in it lead to the images",
    ]


def _to_chimerax(run: Run, out: Path, named: Path) -> list[str]:
    """The map before and after, each at a contour of its own, and a series along the main axis of the latents."""
    before, _ = merged_map(run, "rigid")
    after = read_map(run, "map")
    write_map(out / "before.mrc", before.numpy(), after.pixel_size or 1.0, after.place)
    _copy(run.verified("maps/map.mrc"), out / "after.mrc")
    series = main_series(conformation_space(run), 1, _FRAMES)[0]
    files = [Path(series.name) / name for name in write_series(run, load_half(run, 1), series, out / series.name)]
    origin, _ = place_of_box(run)
    maps = [
        chimerax.Shown(Path("before.mrc"), automatic_threshold(before), "#9aa3ad"),
        chimerax.Shown(Path("after.mrc"), automatic_threshold(torch.from_numpy(after.data)), chimerax.COLOURS[0]),
    ]
    level = automatic_threshold(torch.from_numpy(read_mrc(out / files[0]).data))
    lines = [
        *chimerax.opening(),
        *chimerax.show_maps(maps, 1, origin),
        "transparency #1 60",
        *chimerax.show_series(files, level, 3, origin, chimerax.COLOURS[1]),
        "hide #3 models",
        "view",
    ]
    durable.write_text(out / "dynaflex.cxc", "\n".join(lines) + "\n")
    return [
        f"in ChimeraX: open {named / 'dynaflex.cxc'}",
        "#1 is the map without motion (grey), #2 the corrected one (blue); for the movement: hide #1,2 models; "
        "show #3 models",
    ]


def _copy(source: Path, target: Path) -> None:
    durable.write_bytes(target, source.read_bytes())
