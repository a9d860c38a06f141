"""Simulated particle images with known motion, written as a RELION data set."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np

from dynaflex import tell
from dynaflex.errors import UsageError
from dynaflex.grid import Grid
from dynaflex.io.mrc import write_map
from dynaflex.rotations import point_group
from dynaflex.shapes import Array
from dynaflex.simulation.assembly import make_assembly
from dynaflex.simulation.microscope import Atoms, draw_acquisition, in_uneven_ice, take_images, write_particles
from dynaflex.simulation.molecule import make_molecule
from dynaflex.simulation.motions import make_motion
from dynaflex.simulation.tilts import draw_tilts, write_tilt_stacks, write_tilt_tables
from dynaflex.simulation.truth import Truth, domain_labels, domain_mask, mean_volume

ATOM_SIGMA = 2.0


def simulate(
    out: Path,
    particles: int = 5000,
    box: int = 64,
    pixel_size: float = 3.0,
    snr: float = 0.1,
    motion: str = "hinge",
    seed: int = 0,
    contrast_spread: float = 0.0,
    ramp_spread: float = 0.0,
    symmetry: str = "C1",
    tilts: int = 0,
) -> Truth:
    """Write ``particles`` images of a flexible molecule into the folder ``out``, and the truth about them.

    ``particles.star`` (RELION 3.1) and ``particles.mrcs`` (images in noise standard deviations), ``consensus.mrc`` (the
    average over all conformations, on the grey scale of the images), ``mask.mrc`` (soft, around all conformations),
    ``segments.mrc`` (per voxel of the mask the index of the nearest domain at coordinate 0, -1 outside) and
    ``truth.npz``. Equal arguments give equal bytes.

    ``snr`` is the variance of the CTF-modulated noise-free images over the whole image divided by the variance of the
    noise. ``inf`` leaves the noise out. At 0 the images are noise only: nothing of the molecule is in them, though the
    table, the consensus and the truth are those of one. ``contrast_spread`` is the standard deviation of the logarithm
    of how strongly particles show, as ice of varying thickness has it, and ``ramp_spread`` that of how much images rise
    over their width, along x and along y, in noise standard deviations: ice that grows thicker across them. With a
    ``symmetry`` it is an assembly of units that move each for itself, and the poses are those of the whole.

    With ``tilts`` each particle is seen that often, in one conformation, in a tomogram that is turned from -60 to 60
    degrees. ``optimisation_set.star`` and the files that it names are then those of RELION 5's tomography, with a stack
    for each particle. The truth has a row for each image, in the order in which they are read. The dose, and the cosine
    of the tilt, make images fainter; ``snr`` is the mean over all.

    Raises UsageError for impossible arguments and EnvironmentFault where ``out`` cannot be written.
    """
    _check(particles, box, pixel_size, snr, contrast_spread, ramp_spread, tilts)
    grid = Grid(box, pixel_size)
    molecule = (
        make_molecule(grid.width, seed, motion)
        if len(point_group(symmetry)) == 1
        else make_assembly(grid.width, seed, symmetry)
    )
    kind = make_motion(motion, molecule)
    random, noise = (np.random.default_rng([seed, stream]) for stream in (1, 2))
    taken = draw_tilts(particles, tilts, random) if tilts else None
    drawn = draw_acquisition(particles, random) if taken is None else taken.acquisition()
    acquisition = in_uneven_ice(drawn, contrast_spread, ramp_spread, seed)
    coordinate = kind.sample(particles, random)
    if taken is not None:
        coordinate = coordinate[taken.of]

    def positions(rows: slice) -> Array:
        return kind.displace(molecule.points, molecule.domain, coordinate[rows])

    atoms = Atoms(positions, np.ones(len(molecule.points)), ATOM_SIGMA)
    if taken is None:
        amplitude = write_particles(out, grid, atoms, acquisition, snr, noise)
    else:
        amplitude = take_images(out, grid, atoms, acquisition, snr, noise, partial(write_tilt_stacks, out, grid, taken))
        write_tilt_tables(out, grid, taken)
    truth = Truth(
        points=molecule.points,
        domain=molecule.domain,
        motion=kind,
        coordinate=coordinate,
        euler=np.deg2rad(acquisition.euler),
        shift=-acquisition.origin,
        contrast=acquisition.contrast,
        sigma=ATOM_SIGMA,
        amplitude=amplitude,
        grid=grid,
        snr=snr,
        seed=seed,
        symmetry=molecule.symmetry,
    )
    mask = domain_mask(truth, None, grid)
    with tell.doing("consensus map"):
        consensus = mean_volume(truth, grid).numpy()
    write_map(out / "consensus.mrc", consensus, pixel_size)
    write_map(out / "mask.mrc", mask.numpy(), pixel_size)
    write_map(out / "segments.mrc", domain_labels(truth, mask > 0.0).float().numpy(), pixel_size)
    truth.save(out / "truth.npz")
    return truth


def _check(
    particles: int, box: int, pixel_size: float, snr: float, contrast_spread: float, ramp_spread: float, tilts: int
) -> None:
    """Refuse what cannot be simulated."""
    wrong = (
        ("--particles", particles >= 2, "at least 2, one per half-set", particles),
        ("--box", box >= 16 and box % 2 == 0, "an even number of at least 16 pixels", box),
        ("--pixel-size", pixel_size > 0.0 and math.isfinite(pixel_size), "a positive number of Å", pixel_size),
        ("--snr", snr >= 0.0, "0 or a positive number, or inf", snr),
        ("--contrast-spread", 0.0 <= contrast_spread <= 1.0, "a number from 0 to 1", contrast_spread),
        ("--ramp-spread", 0.0 <= ramp_spread <= 100.0, "a number from 0 to 100", ramp_spread),
        ("--tilts", 0 <= tilts <= 1000, "a number of images for each particle, or 0", tilts),
    )
    for field, fine, expected, found in wrong:
        if not fine:
            raise UsageError(
                "simulate.bad-option", "this cannot be simulated", field=field, expected=expected, found=found
            )
