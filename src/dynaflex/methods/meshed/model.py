"""What methods share whose density is a canonical map that a mesh carries."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dynaflex import fourier, tell
from dynaflex.deformation.on_mesh import OnMesh
from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.grid import Grid
from dynaflex.mesh.segments import LabelledMesh, expand_labels, moved_labels
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.model import FlexModel
from dynaflex.prepare.inputs import Inputs
from dynaflex.prepare.mesh_store import load_mesh, save_mesh
from dynaflex.reconstruct.field import Field, Region
from dynaflex.reconstruct.mesh_field import MeshField
from dynaflex.run.directory import Run
from dynaflex.run.files import MESH
from dynaflex.shapes import Tensor


def store_mesh(run: Run, labelled: LabelledMesh) -> None:
    """Keep the mesh in the run, and say what it is like."""
    mesh = labelled.mesh
    with run.files.writing(MESH) as path:
        save_mesh(path, labelled)
    held = int(mesh.fixed.sum())
    tell.say(
        f"mesh of {len(mesh.vertices)} vertices and {len(mesh.cells)} tetrahedra, edges of {mesh.edge_length():.1f} Å"
        + (f"; {held} vertices held" if held else "")
    )


def first_map(inputs: Inputs, labelled: LabelledMesh, half: int, resolution: float) -> CanonicalMap:
    """The map that a half starts from: its consensus low-passed to ``resolution`` Å, on the voxels in the mesh."""
    grid, full = inputs.imaging.grid, inputs.full_imaging.grid
    low = fourier.low_pass(inputs.consensus[half], full, resolution)
    return CanonicalMap(fourier.resize(low, grid.box, 3), grid, labelled.mesh, labelled.carrier(grid))


def empty_map(state: Mapping[str, Tensor], grid: Grid) -> tuple[CanonicalMap, TetMesh]:
    """A map and its mesh, of the shapes that the ``state`` of a checkpoint has."""
    mesh = TetMesh(*(state[f"deformation.{name}"] for name in ("vertices", "cells", "stiffness", "segment", "fixed")))
    cell = torch.full((grid.box**3,), -1)
    cell[state["density.voxels"]] = state["density.cell"]
    shape = (grid.box,) * 3
    return CanonicalMap(torch.zeros(shape), grid, mesh, cell.view(shape)), mesh


@torch.no_grad()
def rebased(model: FlexModel, origin: Tensor) -> FlexModel:
    """The same model with the conformation ``origin`` ``(k)`` at rest: map, landmarks, mesh and what moves it."""
    moved, density = on_mesh(model)
    moved = moved.rebased(origin)
    return FlexModel(density.rebased(moved.sites, moved.vertices), moved, model.latents, model.grid)


def mesh_field(run: Run, model: FlexModel, region: Region) -> Field:
    """The voxels of a region carried by the mesh of a run, as the ``model`` of a half moves it."""
    moves, density = on_mesh(model)
    labels = _labels(run, moves, density).labels_on(region.grid)
    if labels is not None:
        # The model may rest elsewhere than the mesh did when its segments were drawn.
        rest = model.grid.points(region.device)[density.voxels]
        own = moved_labels(labels, region.grid, region.points, rest, moves.sites)
        labels = torch.full_like(labels, -1).to(own)
        labels.view(-1)[region.voxels] = own
    return MeshField(region, moves.mesh, torch.no_grad()(moves.vertex_displacement), labels)


def _labels(run: Run, moves: OnMesh, density: CanonicalMap) -> LabelledMesh:
    """The segments of a half's mesh: those of the run's, or, where training has cut it, of the voxels of its map, and
    of whatever is nearest to these."""
    stored = load_mesh(run.verified(MESH))
    if len(stored.mesh.vertices) == len(moves.vertices):
        return stored
    labels = density.in_place(moves.segment[density.cell], -1).cpu()
    return LabelledMesh(moves.mesh, expand_labels(labels, torch.ones(labels.shape)), density.grid)


def on_mesh(model: FlexModel) -> tuple[OnMesh, CanonicalMap]:
    """What moves and what is moved, by their own types."""
    moves, density = model.deformation, model.density
    assert isinstance(moves, OnMesh) and isinstance(density, CanonicalMap)
    return moves, density
