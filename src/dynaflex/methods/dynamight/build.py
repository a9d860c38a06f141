"""From inputs and settings to the model of one half."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from dynaflex import fourier
from dynaflex.deformation.confined import Confined
from dynaflex.deformation.coordinate_mlp import CoordinateMLP
from dynaflex.deformation.lattice import OnLattice
from dynaflex.deformation.rebased import Rebased
from dynaflex.deformation.still import FromStill
from dynaflex.density import placement
from dynaflex.density.coarse_grain import CoarseModel
from dynaflex.density.gaussians import GaussianDensity
from dynaflex.grid import Grid
from dynaflex.latents.encoder import Encoder
from dynaflex.latents.posterior import Latents
from dynaflex.latents.table import LatentTable
from dynaflex.methods.dynamight.config import DynamightConfig
from dynaflex.model import FlexModel
from dynaflex.prepare.half import keyed_generator
from dynaflex.prepare.inputs import Inputs, contour
from dynaflex.shapes import Tensor

_COUNTED_AT = 8.0


@dataclass(frozen=True)
class Consensus:
    """The map ``(d d d)`` that one half starts from, low-passed, with the contour that is filled with Gaussians, and
    the ``matter`` that there is of the molecule, in Å³."""

    volume: Tensor
    grid: Grid
    threshold: float
    count: int
    matter: float


def prepare_consensus(inputs: Inputs, half: int, config: DynamightConfig) -> Consensus:
    """Low-pass the consensus map of a half to R0, keep what the mask leaves, choose contour and number of Gaussians.

    Raises:
        InputError: nothing lies above the contour.
    """
    volume, grid = inputs.consensus[half], inputs.full_imaging.grid
    low = fourier.low_pass(volume, grid, config.shared_resolution)
    kept = torch.ones(()) if inputs.given_mask is None else inputs.given_mask
    low = low * kept
    # At R0 the density is swollen, in a sharpened map it is hollow: residues are counted in between.
    counted = fourier.low_pass(volume * kept, grid, _COUNTED_AT)
    matter = placement.enclosed(counted, placement.automatic_threshold(counted), grid.pixel_size)
    count = config.n_gaussians or placement.default_count(matter, inputs.imaging.grid.pixel_size)
    return Consensus(low, grid, contour(low, config), count, matter)


def build_model(
    consensus: Consensus,
    particles: int,
    half: int,
    train_grid: Grid,
    config: DynamightConfig,
    atoms: CoarseModel | None,
    unit: Tensor | None = None,
) -> FlexModel:
    """The untrained model of one half; every random number in it is a function of (seed, half).

    Where there is an asymmetric ``unit`` ``(d d d)``, it alone moves.
    """
    generator = keyed_generator(config.seed, half)
    if atoms is None:
        positions = placement.fill(consensus.volume, consensus.grid, consensus.threshold, consensus.count, generator)
        density = placement.place(consensus.volume, consensus.grid, positions=positions, classes=config.n_classes)
    else:
        density = placement.place(
            consensus.volume,
            consensus.grid,
            positions=atoms.points,
            classes=config.n_classes,
            mass=atoms.amplitudes,
            move=False,
        )
    small = None if unit is None else fourier.resize(unit, train_grid.box, 3).clamp(0.0, 1.0)
    return _assemble(density, particles, train_grid, config, generator, small)


def empty_model(state: Mapping[str, Tensor], particles: int, train_grid: Grid, config: DynamightConfig) -> FlexModel:
    """A model of the right shapes to load the ``state`` of a checkpoint into."""
    ones = torch.ones(config.n_classes)
    density = GaussianDensity(torch.zeros(len(state["density.positions"]), 3), ones, ones)
    return _assemble(density, particles, train_grid, config, torch.Generator(), state.get("deformation.unit"))


@torch.no_grad()
def rebase(model: FlexModel, origin: Tensor) -> FlexModel:
    """The same model with the conformation ``origin`` ``(k)`` at rest: Gaussians and decoder."""
    flow, density = model.deformation, model.density
    assert isinstance(flow, OnLattice) and isinstance(density, GaussianDensity)
    moved = copy.deepcopy(density)
    moved.positions.add_(flow.displacement(origin[None], density.positions)[0])
    if isinstance(flow, Confined):
        # Its cuts are sharper than the lattice: they stay where they are in the conformation that it was learned in.
        return FlexModel(moved, Rebased(flow, origin), model.latents, model.grid)
    return FlexModel(moved, OnLattice(Rebased(flow.network, origin), flow.spacing), model.latents, model.grid)


def _assemble(
    density: GaussianDensity,
    particles: int,
    train_grid: Grid,
    config: DynamightConfig,
    generator: torch.Generator,
    unit: Tensor | None = None,
) -> FlexModel:
    """Put a decoder, confined to a ``unit`` ``(d d d)``, and the latents that the settings ask for behind a density."""
    decoder = CoordinateMLP(
        config.latent_dim,
        train_grid.width,
        layers=config.layers,
        width=config.width,
        frequencies=config.frequencies,
        generator=generator,
    )
    latents: Latents
    if config.latents == "table":
        latents = LatentTable(particles, config.latent_dim, generator)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator.initial_seed())
            latents = Encoder(config.latent_dim, train_grid.box)
    spacing = config.node_spacing
    if unit is not None:
        return FlexModel(density, Confined(decoder, spacing, unit, train_grid.width), latents, train_grid)
    moves = OnLattice(FromStill(decoder), spacing)
    return FlexModel(density, moves, latents, train_grid)
