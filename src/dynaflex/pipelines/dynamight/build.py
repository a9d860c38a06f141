"""From inputs and settings to the model of one half."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dynaflex import fourier
from dynaflex.deformation.coordinate_mlp import CoordinateMLP
from dynaflex.density import placement
from dynaflex.density.coarse_grain import CoarseModel
from dynaflex.density.gaussians import GaussianDensity
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.latents.encoder import Encoder
from dynaflex.latents.posterior import Latents
from dynaflex.latents.table import LatentTable
from dynaflex.model import FlexModel
from dynaflex.pipelines.dynamight.config import DynamightConfig
from dynaflex.pipelines.half import keyed_generator
from dynaflex.shapes import Tensor

_COUNTED_AT = 8.0


@dataclass(frozen=True)
class Consensus:
    """The map ``(d d d)`` that one half starts from, low-passed, with the contour that is filled with Gaussians."""

    volume: Tensor
    grid: Grid
    threshold: float
    count: int


def prepare_consensus(volume: Tensor, grid: Grid, mask: Tensor | None, config: DynamightConfig) -> Consensus:
    """Low-pass the consensus map to R0, keep what the mask leaves, and choose contour and number of Gaussians.

    Raises:
        InputError: nothing lies above the contour.
    """
    low = fourier.low_pass(volume, grid, config.shared_resolution)
    if mask is not None:
        low = low * mask
    threshold = placement.automatic_threshold(low) if config.threshold is None else config.threshold
    if not bool((low > threshold).any()):
        raise InputError(
            "map.empty-contour",
            f"no density lies above the contour {threshold:.4g} after low-passing to {config.shared_resolution:g} Å",
            expected=f"a threshold below {float(low.max()):.4g}",
            fix="lower --threshold, or check the contrast of the map: molecules must be white",
        )
    # At R0 the density is swollen, in a sharpened map it is hollow: residues are counted in between.
    counted = fourier.low_pass(volume if mask is None else volume * mask, grid, _COUNTED_AT)
    count = config.n_gaussians or placement.default_count(
        counted, placement.automatic_threshold(counted), grid.pixel_size
    )
    return Consensus(low, grid, threshold, count)


def build_model(
    consensus: Consensus,
    particles: int,
    half: int,
    train_grid: Grid,
    config: DynamightConfig,
    atoms: CoarseModel | None,
) -> FlexModel:
    """The untrained model of one half; every random number in it is a function of (seed, half)."""
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
    return _assemble(density, particles, train_grid, config, generator)


def empty_model(gaussians: int, particles: int, train_grid: Grid, config: DynamightConfig) -> FlexModel:
    """A model of the right shapes to load a checkpoint into."""
    ones = torch.ones(config.n_classes)
    density = GaussianDensity(torch.zeros(gaussians, 3), ones, ones)
    return _assemble(density, particles, train_grid, config, torch.Generator())


def _assemble(
    density: GaussianDensity, particles: int, train_grid: Grid, config: DynamightConfig, generator: torch.Generator
) -> FlexModel:
    """Put a decoder and the latents that the settings ask for behind a density."""
    deformation = CoordinateMLP(
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
    return FlexModel(density, deformation, latents, train_grid)
