"""From inputs and settings to the mesh that both halves share and the model of one half."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dynaflex import fourier
from dynaflex.deformation.mesh_flow import MeshFlow
from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.grid import Grid
from dynaflex.latents.table import LatentTable
from dynaflex.mesh.segments import LabelledMesh
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.model import FlexModel
from dynaflex.pipelines.config import RunConfig
from dynaflex.pipelines.flex.config import FlexConfig
from dynaflex.pipelines.half import keyed_generator
from dynaflex.pipelines.inputs import Inputs
from dynaflex.shapes import Tensor


def settings_of(config: RunConfig) -> FlexConfig:
    """The same settings, known to be those of 3DFlex."""
    assert isinstance(config, FlexConfig)
    return config


def build_model(inputs: Inputs, labelled: LabelledMesh, half: int, particles: int, config: FlexConfig) -> FlexModel:
    """The untrained model of one half: its consensus low-passed to R0, on the voxels in the mesh, and no motion yet."""
    grid, full = inputs.imaging.grid, inputs.full_imaging.grid
    generator = keyed_generator(config.seed, half)
    low = fourier.low_pass(inputs.consensus[half], full, config.shared_resolution)
    density = CanonicalMap(fourier.resize(low, grid.box, 3), grid, labelled.mesh, labelled.carrier(grid))
    return _assemble(density, labelled.mesh, particles, grid, config, generator)


def empty_model(state: Mapping[str, Tensor], particles: int, train_grid: Grid, config: RunConfig) -> FlexModel:
    """A model of the right shapes to load the ``state`` of a checkpoint into."""
    mesh = TetMesh(*(state[f"deformation.{name}"] for name in ("vertices", "cells", "stiffness", "segment", "fixed")))
    cell = torch.full((train_grid.box**3,), -1)
    cell[state["density.voxels"]] = state["density.cell"]
    shape = (train_grid.box,) * 3
    density = CanonicalMap(torch.zeros(shape), train_grid, mesh, cell.view(shape))
    return _assemble(density, mesh, particles, train_grid, settings_of(config), torch.Generator())


@torch.no_grad()
def rebase(model: FlexModel, origin: Tensor) -> FlexModel:
    """The same model with the conformation ``origin`` ``(k)`` at rest: map, landmarks, mesh and flow."""
    flow, density = model.deformation, model.density
    assert isinstance(flow, MeshFlow) and isinstance(density, CanonicalMap)
    moved = flow.rebased(origin)
    return FlexModel(density.rebased(moved.sites, moved.vertices), moved, model.latents, model.grid)


def _assemble(
    density: CanonicalMap, mesh: TetMesh, particles: int, grid: Grid, config: FlexConfig, generator: torch.Generator
) -> FlexModel:
    flow = MeshFlow(
        mesh,
        config.latent_dim,
        grid.points()[density.voxels],
        density.cell,
        grid.pixel_size,
        layers=config.layers,
        width=config.width,
        generator=generator,
    )
    table = LatentTable(particles, config.latent_dim, generator, spread=0.0)
    return FlexModel(density, flow, table, grid)
