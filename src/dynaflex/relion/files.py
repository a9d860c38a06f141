"""The files of a job, where RELION, Scipion and Doppio look for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from dynaflex.data.columns import particle_block
from dynaflex.io import durable
from dynaflex.io.mrc import write_map
from dynaflex.io.paths import absolute
from dynaflex.io.star import StarFile, read_star, write_star
from dynaflex.prepare.place import place_of
from dynaflex.products.series import first_component
from dynaflex.relion.places import (
    BACK,
    DYNAMIGHT_RESULTS,
    FIGURES,
    FINAL,
    INVERSE,
    MAPS,
    RESULTS,
    SUBSETS,
    VOLUMES,
    number_of,
)
from dynaflex.relion.pointer import write_pointer
from dynaflex.results.trained import load_half
from dynaflex.results.volumes import carried_map
from dynaflex.run.directory import Run
from dynaflex.viewer.particles.selections import Selections

_NODES = "RELION_OUTPUT_NODES.star"
_BACKPROJECTED = {
    "map_half1.mrc": "map_half1", "map_half2.mrc": "map_half2", "map.mrc": "map", "mask_reconstruction.mrc": "mask",
}  # fmt: skip
_FRAMES = 10
_HALF = "rlnRandomSubset"


def write_trained(job: Path, run: Run) -> None:
    """What a training leaves: checkpoints, which lead to the run, and the density of either half at rest."""
    epochs = max(run.store.epochs(f"half{half}") for half in (0, 1, 2))
    write_pointer(job / FINAL, run)
    write_pointer(job / FINAL.with_name(f"{epochs:03d}.pth"), run)
    durable.make_folder(job / VOLUMES)
    for half in (1, 2):
        trained = load_half(run, half)
        grid = trained.model.grid
        volume = trained.model.density.volume(grid).detach().numpy()
        name = f"volume_half{half}_{epochs:03d}.mrc"
        write_map(job / VOLUMES / name, volume, grid.pixel_size, place_of(run, grid))


def write_inverse(job: Path, run: Run) -> None:
    """What an inverse of the deformations would leave."""
    write_pointer(job / INVERSE, run)


def write_backprojected(job: Path, run: Run) -> None:
    """Both half-maps, the map that is merged of them, their mask, and a series of maps along the main axis of either
    half."""
    for name, ours in _BACKPROJECTED.items():
        durable.make_folder(job / BACK)
        durable.copy(run.verified(f"maps/{ours}.mrc"), job / BACK / name)
    durable.make_folder(job / MAPS)
    for half in (1, 2):
        trained = load_half(run, half)
        carried = carried_map(run, trained)
        place = place_of(run, carried.grid)
        for number, z in enumerate(first_component(trained, _FRAMES).latents):
            volume = carried.at(trained.latents.mean.new_tensor(z).float()).numpy()
            write_map(job / MAPS / f"map{number:03d}_half{half}.mrc", volume, carried.grid.pixel_size, place)


def write_subsets(job: Path, run: Run) -> None:
    """The selections that were stored in the explorer: whole, and the particles of either half that has some."""
    for selection in Selections(run.path).listed():
        star = read_star(run.path / selection["file"])
        block, number = particle_block(star), int(selection["id"].rpartition("_")[2])
        table = star.blocks[block]
        durable.make_folder(job / SUBSETS)
        write_star(star, job / SUBSETS / f"subset_{number}.star")
        for half in (1, 2):
            mine = table[table[_HALF].astype(int) == half]
            if len(mine):
                own = replace(star, blocks={**star.blocks, block: mine})
                write_star(own, job / SUBSETS / f"subset_{number}_half{half}.star")


def write_nodes(job: Path, *, external: bool = False) -> None:
    """Tell RELION what its other jobs can take from this one."""
    found = [(_from_project(path), kind, number_of(kind)) for path, kind in _results(job, external)]
    if found:
        names = ["rlnPipeLineNodeName", "rlnPipeLineNodeTypeLabel", "rlnPipeLineNodeType"]
        table = pd.DataFrame(found, columns=names)
        path = job / _NODES
        write_star(StarFile(path, {"output_nodes": table}), path)


def _results(job: Path, external: bool) -> Iterator[tuple[Path, str]]:
    for pattern, kind in (*RESULTS, FIGURES) if external else DYNAMIGHT_RESULTS:
        yield from ((path, kind) for path in sorted(job.glob(pattern)) if "_half" not in path.name or external)


def _from_project(path: Path) -> str:
    """A file as RELION knows it, which is started in the folder of the project."""
    whole, project = absolute(path), absolute(Path.cwd())
    return os.path.relpath(whole, project) if whole.is_relative_to(project) else str(whole)
