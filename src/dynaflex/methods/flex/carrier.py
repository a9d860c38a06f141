"""The mesh that carries the density of a run: built or read, and held where it must not move."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from dynaflex import fourier, tell
from dynaflex.data.placed import read_mask
from dynaflex.errors import InputError
from dynaflex.mesh.build import build_mesh, cell_edge, hold
from dynaflex.mesh.fuse import segmented_mesh
from dynaflex.mesh.segments import LabelledMesh
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.methods.flex.config import FlexConfig
from dynaflex.prepare.inputs import Inputs
from dynaflex.prepare.mesh_store import load_mesh, naming
from dynaflex.shapes import Tensor
from dynaflex.symmetry.asymmetric_unit import OF_UNIT


def make_carrier(inputs: Inputs, config: FlexConfig) -> LabelledMesh:
    """The mesh the user gave, or a regular one around the mask; a stationary region is held in either, and all but one
    unit of a symmetric assembly.

    Raises:
        InputError: a file does not fit the map, the mesh carries no density, or nothing is left to move.
    """
    grid, files = inputs.full_imaging.grid, inputs.paths.own
    if "mesh" not in files:
        low = fourier.low_pass(inputs.consensus[0], grid, config.shared_resolution)
        density = low.clamp(min=0.0) * inputs.mask
        mesh = build_mesh(
            inputs.mask,
            grid,
            density,
            config.cells,
            config.smallest_weight,
            config.stiffen,
            edge=cell_edge(inputs.imaging.grid.pixel_size),
        )
        labelled = LabelledMesh(mesh) if inputs.unit is None else _of_one_unit(mesh, inputs.unit, inputs)
    else:
        labelled = load_mesh(files["mesh"])
        _require_density(files["mesh"], labelled, inputs)
        if inputs.unit is not None:
            labelled = replace(labelled, mesh=hold(labelled.mesh, inputs.mask * (inputs.unit < OF_UNIT), grid))
    if "stationary" not in files:
        return labelled
    warnings: list[str] = []
    still = torch.from_numpy(read_mask(files["stationary"], inputs.frame, warnings))
    for warning in warnings:
        tell.warn(warning)
    with naming(files["stationary"]):
        return replace(labelled, mesh=hold(labelled.mesh, still, grid))


def _of_one_unit(mesh: TetMesh, unit: Tensor, inputs: Inputs) -> LabelledMesh:
    """The mesh cut around the asymmetric ``unit`` ``(d d d)``, which is segment 0; the others, segment 1, are held.

    They move in every particle too, but each for itself: a copy of the particle shows it for each.
    """
    grid = inputs.full_imaging.grid
    labels = torch.where(inputs.mask > 0.5, (unit < OF_UNIT).long(), -1)
    apart = segmented_mesh(mesh, labels, grid, [], [], separate=True).mesh
    fixed = apart.fixed.clone()
    fixed[apart.cells[apart.segment == 1].reshape(-1)] = True
    return LabelledMesh(replace(apart, fixed=fixed), labels, grid)


def _require_density(path: Path, labelled: LabelledMesh, inputs: Inputs) -> None:
    """Refuse a mesh that leaves out most of the molecule: it was made for another map, or in another frame."""
    inside = inputs.mask > 0.5
    covered = float((labelled.carrier(inputs.full_imaging.grid)[inside] >= 0).float().mean())
    if covered < 0.5:
        raise InputError(
            "mesh.elsewhere",
            f"this mesh carries {covered:.0%} of the voxels inside the mask",
            file=path,
            expected="a mesh that covers the molecule, in Å from the centre of the box",
            fix="make it with `dynaflex mesh` from this map and mask",
        )
