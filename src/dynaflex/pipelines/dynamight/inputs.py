"""What a DynaMight run is made from, read and compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dynaflex import fourier
from dynaflex.data import preprocess
from dynaflex.data.halves import held_out
from dynaflex.data.particles import Particles, read_particles
from dynaflex.data.preflight import check_inputs
from dynaflex.density.coarse_grain import CoarseModel, coarse_grain, to_box_frame
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.io.atoms import read_atoms
from dynaflex.io.mrc import read_map
from dynaflex.pipelines.dynamight.build import Consensus, prepare_consensus
from dynaflex.pipelines.dynamight.config import DynamightConfig
from dynaflex.pipelines.half import Imaging
from dynaflex.reconstruct.postprocess import soft_mask
from dynaflex.shapes import BoolArray, Tensor

_LARGEST_TRAINING_BOX = 128
_MASK_EDGE = 20.0


@dataclass(frozen=True)
class InputPaths:
    """The files a user names."""

    particles: Path
    consensus: Path
    mask: Path | None = None
    half_maps: tuple[Path, Path] | None = None
    atoms: Path | None = None
    datadir: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """Absolute paths as strings, for ``provenance.json``."""
        plain = {}
        for name, value in asdict(self).items():
            paths = value if isinstance(value, tuple) else (value,)
            absolute = [None if path is None else str(Path(path).absolute()) for path in paths]
            plain[name] = absolute if isinstance(value, tuple) else absolute[0]
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> InputPaths:
        """Undo :meth:`as_dict`."""
        half_maps = plain.get("half_maps")
        single = {name: None if plain.get(name) is None else Path(plain[name]) for name in ("mask", "atoms", "datadir")}
        return cls(
            Path(plain["particles"]),
            Path(plain["consensus"]),
            half_maps=None if half_maps is None else (Path(half_maps[0]), Path(half_maps[1])),
            **single,
        )


@dataclass(frozen=True)
class Inputs:
    """Everything that both halves are built from; nothing in it depends on an image.

    ``mask`` ``(d d d)`` is soft and serves the FSC and the placement; ``starts`` holds the consensus of each half.
    """

    particles: Particles
    held_out: BoolArray
    mask: Tensor
    mask_given: bool
    starts: dict[int, Consensus]
    atoms: CoarseModel | None
    imaging: Imaging
    full_imaging: Imaging
    reference: Tensor
    independent_starts: bool


def read_inputs(paths: InputPaths, config: DynamightConfig, *, read_images: bool = False) -> Inputs:
    """Read and compare all inputs; with ``read_images`` every image is looked at, rather than when its turn comes.

    Raises:
        InputError: something is missing or does not fit.
    """
    check_inputs(paths.particles, paths.consensus, paths.mask, paths.datadir, read_images, config.seed).raise_first()
    particles = read_particles(paths.particles, paths.datadir, config.seed)
    grid = particles.grid
    consensus = read_map(paths.consensus)
    reference = torch.from_numpy(consensus.data)
    given = None if paths.mask is None else torch.from_numpy(read_map(paths.mask).data)
    volumes = [reference, reference]
    if paths.half_maps is not None:
        for path in paths.half_maps:
            check_inputs(paths.particles, path, datadir=paths.datadir).raise_first()
        volumes = [torch.from_numpy(read_map(path).data) for path in paths.half_maps]
    starts = {half: prepare_consensus(volumes[half - 1], grid, given, config) for half in (1, 2)}
    mask = given if given is not None else _automatic_mask(reference, grid, config)
    diameter = config.particle_diameter or preprocess.particle_diameter(grid, mask)
    train_box = config.train_box or min(grid.box, _LARGEST_TRAINING_BOX)
    sign = -1.0 if config.invert_contrast else 1.0
    edge = min(_MASK_EDGE, 0.5 * max(grid.width - diameter, 4.0 * grid.pixel_size))
    atoms = None if paths.atoms is None else _atomic_model(paths.atoms, grid, consensus.origin)
    return Inputs(
        particles=particles,
        held_out=held_out(particles.rows, particles.half, config.held_out_fraction, config.seed),
        mask=mask,
        mask_given=given is not None,
        starts=starts,
        atoms=atoms,
        imaging=Imaging(grid.cropped(train_box), diameter, edge, sign),
        full_imaging=Imaging(grid, diameter, edge, sign),
        reference=reference,
        independent_starts=paths.half_maps is not None,
    )


def _automatic_mask(reference: Tensor, grid: Grid, config: DynamightConfig) -> Tensor:
    start = prepare_consensus(reference, grid, None, config)
    return soft_mask(fourier.low_pass(reference, grid, config.shared_resolution), grid, start.threshold)


def _atomic_model(path: Path, grid: Grid, origin: tuple[float, float, float]) -> CoarseModel:
    model = coarse_grain(read_atoms(path))
    if len(model.edges) == 0:
        raise InputError(
            "atoms.no-bonds",
            "no two pseudo-atoms of this model are bonded",
            file=path,
            expected="a chain of residues",
            fix="give a model with its side chains or main chain, or leave out --model",
        )
    return replace(model, points=to_box_frame(model.points, grid.box, grid.pixel_size, origin))
