"""From inputs and settings to the model of one half."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dynaflex.deformation.mesh_flow import MeshFlow
from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.grid import Grid
from dynaflex.latents.table import LatentTable
from dynaflex.mesh.segments import LabelledMesh
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.methods.flex.config import FlexConfig
from dynaflex.methods.meshed.model import empty_map, first_map, on_mesh
from dynaflex.model import FlexModel
from dynaflex.prepare.half import keyed_generator
from dynaflex.prepare.inputs import Inputs
from dynaflex.shapes import Tensor


def build_model(inputs: Inputs, labelled: LabelledMesh, half: int, particles: int, config: FlexConfig) -> FlexModel:
    """The untrained model of one half: its consensus low-passed to R0, on the voxels in the mesh, and no motion yet."""
    density = first_map(inputs, labelled, half, config.shared_resolution)
    return _assemble(density, labelled.mesh, particles, config, keyed_generator(config.seed, half))


def empty_model(state: Mapping[str, Tensor], particles: int, train_grid: Grid, config: FlexConfig) -> FlexModel:
    """A model of the right shapes to load the ``state`` of a checkpoint into."""
    density, mesh = empty_map(state, train_grid)
    return _assemble(density, mesh, particles, config, torch.Generator())


def cut_model(model: FlexModel, cut: LabelledMesh, config: FlexConfig, generator: torch.Generator) -> FlexModel:
    """The same map and latents on a mesh with cuts, and no motion yet; but for the latents all is on the CPU."""
    _, density = on_mesh(model)
    carried = CanonicalMap(density.own_volume().cpu(), density.grid, cut.mesh, cut.carrier(density.grid))
    flow = _flow(carried, cut.mesh, config, generator)
    return FlexModel(carried, flow, model.latents, density.grid)


def _assemble(
    density: CanonicalMap, mesh: TetMesh, particles: int, config: FlexConfig, generator: torch.Generator
) -> FlexModel:
    flow = _flow(density, mesh, config, generator)
    table = LatentTable(particles, config.latent_dim, generator, spread=0.0)
    return FlexModel(density, flow, table, density.grid)


def _flow(density: CanonicalMap, mesh: TetMesh, config: FlexConfig, generator: torch.Generator) -> MeshFlow:
    return MeshFlow(
        mesh,
        config.latent_dim,
        density.sites,
        density.cell,
        density.grid.pixel_size,
        layers=config.layers,
        width=config.width,
        generator=generator,
    )
