"""What a simulated data set really is: the answers that a method is scored against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

from dynaflex import fourier
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.io.arrays import UNREADABLE, read_arrays
from dynaflex.io.durable import write_npz
from dynaflex.shapes import Array, IntArray, Tensor
from dynaflex.simulation.fourier_sum import gaussian_envelope, volume_coefficients
from dynaflex.simulation.molecule import DOMAINS
from dynaflex.simulation.motions import Motion, Rotor

CONFORMATIONS = 64
"""Conformations per rotor in a mean over the whole motion; adjacent ones differ by less than an atom's width."""


@dataclass(frozen=True)
class Truth:
    """The atoms, the motion, and what was drawn for every row of the particle table.

    ``points`` ``(n 3)`` in Å are the atoms at coordinate 0 and ``domain`` ``(n)`` an index into
    ``molecule.DOMAINS``; of an assembly with a ``symmetry``, 0 for all bodies and ``k + 1`` for the arm of unit ``k``,
    which has column ``k`` of the coordinates. ``coordinate`` ``(p c)`` is in radians, ``euler`` ``(p 3)`` RELION's
    (rot, tilt, psi) in radians, ``shift`` ``(p 2)`` the position of the particle's centre in its image in Å,
    ``contrast`` ``(p)`` how strongly it shows. ``sigma`` is the width of an atom in Å and ``amplitude`` its mass, so
    that maps and images have the same grey scale.
    """

    points: Array
    domain: IntArray
    motion: Motion
    coordinate: Array
    euler: Array
    shift: Array
    contrast: Array
    sigma: float
    amplitude: float
    grid: Grid
    snr: float
    seed: int
    symmetry: str = "C1"

    def save(self, path: Path) -> None:
        """Write ``truth.npz``: plain arrays, angles in degrees, one row per particle where there is one."""
        rotors = self.motion.rotors
        write_npz(
            path,
            points=self.points,
            domain=self.domain,
            domain_names=np.array(DOMAINS),
            **({} if self.symmetry == "C1" else {"symmetry": np.array(self.symmetry)}),
            motion=np.array(self.motion.name),
            motion_swing=np.array(math.degrees(self.motion.swing)),
            hinge_domain=np.array([rotor.domain for rotor in rotors], dtype=np.int64),
            hinge_point=np.array([rotor.point for rotor in rotors]).reshape(-1, 3),
            hinge_axis=np.array([rotor.axis for rotor in rotors]).reshape(-1, 3),
            hinge_rise=np.array([rotor.rise for rotor in rotors], dtype=np.float64),
            coordinate=np.rad2deg(self.coordinate),
            euler=np.rad2deg(self.euler),
            shift=self.shift,
            contrast=self.contrast,
            sigma=np.array(self.sigma),
            amplitude=np.array(self.amplitude),
            pixel_size=np.array(self.grid.pixel_size),
            box=np.array(self.grid.box),
            snr=np.array(self.snr),
            seed=np.array(self.seed),
        )


def read_truth(path: Path) -> Truth:
    """Read ``truth.npz``.

    Raises InputError ``truth.not-found`` or ``truth.not-readable``.
    """
    if not path.is_file():
        raise InputError(
            "truth.not-found", "there is no such file", file=path, fix="give the truth.npz of `dynaflex simulate`"
        )
    try:
        return _from_arrays(read_arrays(path))
    except UNREADABLE as error:
        raise InputError(
            "truth.not-readable",
            "this is not the truth of a simulated data set",
            file=path,
            found=error,
            fix="give the truth.npz of `dynaflex simulate`",
        ) from error


def _from_arrays(data: dict[str, Array]) -> Truth:
    columns = (data["hinge_domain"], data["hinge_point"], data["hinge_axis"], data["hinge_rise"])
    rotors = tuple(
        Rotor(int(domain), point, axis, float(rise)) for domain, point, axis, rise in zip(*columns, strict=True)
    )
    return Truth(
        points=data["points"],
        domain=data["domain"].astype(np.int64),
        motion=Motion(str(data["motion"]), rotors, math.radians(float(data["motion_swing"]))),
        coordinate=np.deg2rad(data["coordinate"]),
        euler=np.deg2rad(data["euler"]),
        shift=data["shift"],
        contrast=data["contrast"],
        sigma=float(data["sigma"]),
        amplitude=float(data["amplitude"]),
        grid=Grid(int(data["box"]), float(data["pixel_size"])),
        snr=float(data["snr"]),
        seed=int(data["seed"]),
        symmetry=str(data.get("symmetry", "C1")),
    )


def truth_displacement(truth: Truth, index: IntArray, points: Array) -> Array:
    """How the particles in rows ``index`` ``(b)`` displace ``points`` ``(n 3)`` of coordinate 0, in Å ``(b n 3)``.

    A point moves with the domain of its nearest atom.
    """
    _, nearest = cKDTree(truth.points).query(points)
    moved = truth.motion.displace(points, truth.domain[nearest], truth.coordinate[index])
    return np.asarray(moved - points)


def true_volume(truth: Truth, coordinate: Array, grid: Grid) -> Tensor:
    """The exact band-limited map of the conformation ``coordinate`` ``(c)``, float32 ``(d d d)``.

    Its voxels add up to the mass of the molecule, so that a projection along z is the noise-free, CTF-free image.
    """
    atoms = truth.motion.displace(truth.points, truth.domain, coordinate)
    return density_map(atoms, np.ones(len(atoms)), truth.sigma, grid) * truth.amplitude


def mean_volume(truth: Truth, grid: Grid) -> Tensor:
    """The average of the true maps over the whole motion, ``(d d d)``: what a refinement without flexibility sees."""
    atoms, weights, _ = _all_conformations(truth)
    return density_map(atoms, weights, truth.sigma, grid) * truth.amplitude


def density_map(atoms: Array, weights: Array, sigma: float, grid: Grid) -> Tensor:
    """The exact band-limited map of atoms ``(n 3)``, Gaussians of mass ``weights`` ``(n)`` and width ``sigma`` Å."""
    coefficients = volume_coefficients(torch.from_numpy(atoms), torch.from_numpy(weights), grid)
    return fourier.inverse_transform(coefficients * gaussian_envelope(grid, 3, sigma), 3)


def domain_mask(
    truth: Truth,
    coordinate: Array | None,
    grid: Grid,
    domain: int | None = None,
    radius: float = 8.0,
    soft_edge: float = 6.0,
) -> Tensor:
    """A soft mask, 1 within ``radius`` Å of any atom of a domain and 0 ``soft_edge`` Å further out, ``(d d d)``.

    ``coordinate`` ``(c)`` chooses a conformation; None takes all that the motion passes through. Without ``domain`` the
    mask is around the whole molecule.
    """
    if coordinate is None:
        atoms, _, owner = _all_conformations(truth)
    else:
        atoms = truth.motion.displace(truth.points, truth.domain, coordinate)
        owner = truth.domain
    return mask_around(atoms if domain is None else atoms[owner == domain], grid, radius, soft_edge)


def domain_labels(truth: Truth, inside: Tensor) -> Tensor:
    """Whose atom is nearest to every voxel at coordinate 0: an index into ``molecule.DOMAINS``, int64 ``(d d d)``.

    Voxels that are not ``inside`` ``(d d d)`` are labelled -1.
    """
    voxels = truth.grid.points(dtype=torch.float64)[inside.reshape(-1)].numpy()
    labels = torch.full(inside.shape, -1, dtype=torch.int64)
    labels[inside] = torch.from_numpy(truth.domain[cKDTree(truth.points).query(voxels)[1]])
    return labels


def mask_around(atoms: Array, grid: Grid, radius: float = 8.0, soft_edge: float = 6.0) -> Tensor:
    """A soft mask, 1 within ``radius`` Å of any of the ``atoms`` ``(n 3)`` and 0 ``soft_edge`` Å further out."""
    reach = radius + soft_edge
    voxels = grid.points(dtype=torch.float64).numpy()
    distance, _ = cKDTree(atoms).query(voxels, distance_upper_bound=reach)
    ramp = np.clip((reach - np.minimum(distance, reach)) / soft_edge, 0.0, 1.0)
    mask = torch.from_numpy(0.5 - 0.5 * np.cos(math.pi * ramp)).to(torch.float32)
    return mask.view(grid.box, grid.box, grid.box)


def _all_conformations(truth: Truth) -> tuple[Array, Array, IntArray]:
    """Atoms in evenly spaced conformations ``(m 3)``, the weight and the domain of each; those at rest come once.

    Every domain has at most one rotor and the rotors are independent, so moving them in step gives the exact mean.
    """
    motion = truth.motion
    moves = np.isin(truth.domain, [rotor.domain for rotor in motion.rotors])
    middle = (np.arange(CONFORMATIONS) + 0.5) / CONFORMATIONS
    coordinate = np.repeat(motion.swing * (2.0 * middle - 1.0)[:, None], motion.n_coordinates, axis=1)
    moving = motion.displace(truth.points[moves], truth.domain[moves], coordinate).reshape(-1, 3)
    atoms = np.concatenate([truth.points[~moves], moving])
    weights = np.concatenate([np.ones(int((~moves).sum())), np.full(len(moving), 1.0 / CONFORMATIONS)])
    return atoms, weights, np.concatenate([truth.domain[~moves], np.tile(truth.domain[moves], CONFORMATIONS)])
