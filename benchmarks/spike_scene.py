"""The spike of SARS-CoV-2, whose receptor-binding domains rise one after the other: ten rigid bodies on smooth paths.

Four structures of one spike, with 0, 1, 2 and 3 domains up, give the poses of each body; between two structures a body
follows the screw that takes it from one pose to the next. The core of S2 stays where it is. A residue is one bead at
its centre of mass that weighs what its atoms weigh.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.io.durable import write_npz
from dynaflex.judge.scene import Part
from dynaflex.shapes import Array, IntArray, Tensor
from dynaflex.simulation.truth import density_map, mask_around

CHAINS = ("A", "B", "C")
REGIONS = (("NTD", ((1, 305),)), ("RBD", ((331, 527),)), ("SD", ((306, 330), (528, 700))))
"""Residues of the bodies of S1: N-terminal domain, receptor-binding domain, and the subdomains between them and S2."""
BODIES = ("S2", *(f"{name}_{chain}" for chain in CHAINS for name, _ in REGIONS))
MASS = {"C": 12.011, "N": 14.007, "O": 15.999, "S": 32.06}
SIGMA = 2.0
"""Width of a bead in Å: that of the atoms of `dynaflex simulate`."""
LARGE_TURN = math.radians(20.0)
"""A domain that turns by more than this is a segment of its own mesh."""
STEPS = 24
"""Conformations between two structures in a mean over the motion."""


@dataclass(frozen=True)
class SpikeScene:
    """The beads of the first structure, ``points`` ``(n 3)`` of ``weights`` ``(n)`` in the bodies ``domain`` ``(n)``.

    ``rotation`` ``(c m 3 3)`` and ``translation`` ``(c m 3)`` take the m bodies from there to c structures, the first
    included. ``coordinate`` ``(p 1)``, from 0 to c - 1, is how far along the path a particle is. A state has such a
    coordinate for each of the three chains, since maps need not be of a conformation that any particle takes.
    """

    points: Array
    weights: Array
    domain: IntArray
    rotation: Array
    translation: Array
    coordinate: Array
    amplitude: float
    grid: Grid
    search: int = 13

    @property
    def moving(self) -> tuple[Part, ...]:
        """The three receptor-binding domains, in the order of a state."""
        return tuple(Part(f"RBD_{chain}", BODIES.index(f"RBD_{chain}")) for chain in CHAINS)

    @property
    def still(self) -> Part:
        """The core of S2."""
        return Part("S2", BODIES.index("S2"))

    @property
    def limits(self) -> tuple[float, float]:
        """From the first structure to the last."""
        return 0.0, len(self.rotation) - 1.0

    def beads(self, coordinate: Array) -> Array:
        """All beads in the conformations ``coordinate`` ``(b 1)``, or states ``(b 3)``, as ``(b n 3)``."""
        return self.displacement(self.points, self.domain, coordinate) + self.points

    def volume(self, state: Array) -> Tensor:
        """The exact band-limited map of a state, on the grey scale of the images."""
        return density_map(self.beads(state[None])[0], self.weights, SIGMA, self.grid) * self.amplitude

    def mean_volume(self) -> Tensor:
        """The average of the maps along the path: what a refinement without flexibility sees."""
        beads = self._sweep()
        weights = np.tile(self.weights, len(beads)) / len(beads)
        return density_map(beads.reshape(-1, 3), weights, SIGMA, self.grid) * self.amplitude

    def mask(self, state: Array | None, part: Part | None) -> Tensor:
        """A soft mask 8 Å around the beads."""
        chosen = slice(None) if part is None else self.domain == part.index
        beads = self._sweep() if state is None else self.beads(state[None])
        return mask_around(beads[:, chosen].reshape(-1, 3), self.grid)

    def owner(self, points: Array) -> IntArray:
        """The body of the nearest bead."""
        return np.asarray(self.domain[cKDTree(self.points).query(points)[1]])

    def displacement(self, points: Array, owner: IntArray, coordinate: Array) -> Array:
        """Points move with their body."""
        moved = np.repeat(points[None], len(coordinate), axis=0)
        for body in np.unique(owner):
            chain = (body - 1) // len(REGIONS)
            turn, shift = self._pose(body, coordinate[:, min(chain, coordinate.shape[1] - 1)])
            inside = owner == body
            moved[:, inside] = points[inside] @ turn.transpose(0, 2, 1) + shift[:, None]
        return np.asarray(moved - points)

    def save(self, path: Path, euler: Array, shift: Array, snr: float, seed: int) -> None:
        """Write ``truth.npz``: plain arrays, angles in degrees, one row per particle where there is one."""
        write_npz(
            path,
            points=self.points,
            weights=self.weights,
            domain=self.domain,
            domain_names=np.array(BODIES),
            rotation=self.rotation,
            translation=self.translation,
            coordinate=self.coordinate,
            euler=euler,
            shift=shift,
            sigma=np.array(SIGMA),
            amplitude=np.array(self.amplitude),
            pixel_size=np.array(self.grid.pixel_size),
            box=np.array(self.grid.box),
            snr=np.array(snr),
            seed=np.array(seed),
        )

    def _pose(self, body: int, coordinate: Array) -> tuple[Array, Array]:
        """Rotations ``(b 3 3)`` and translations ``(b 3)`` of a body at coordinates ``(b)`` of the path."""
        first = np.clip(np.floor(coordinate), 0, len(self.rotation) - 2).astype(np.int64)
        fraction = coordinate - first
        point, vector, rise = (values[first, body] for values in self._screws)
        turn = Rotation.from_rotvec(fraction[:, None] * vector).as_matrix()
        shift = point - np.einsum("bij,bj->bi", turn, point) + fraction[:, None] * rise
        rotation, translation = self.rotation[first, body], self.translation[first, body]
        return turn @ rotation, np.einsum("bij,bj->bi", turn, translation) + shift

    @cached_property
    def _screws(self) -> tuple[Array, Array, Array]:
        """From each structure to the next, per body: a point of the screw's axis, the rotation vector along it in
        radians, and the displacement along it, each ``(c-1 m 3)``."""
        turn = self.rotation[1:] @ self.rotation[:-1].swapaxes(-1, -2)
        shift = self.translation[1:] - np.einsum("cmij,cmj->cmi", turn, self.translation[:-1])
        vector = Rotation.from_matrix(turn.reshape(-1, 3, 3)).as_rotvec().reshape(shift.shape)
        angle = np.linalg.norm(vector, axis=-1, keepdims=True)
        axis = np.divide(vector, angle, out=np.zeros_like(vector), where=angle > 1e-9)
        rise = (shift * axis).sum(axis=-1, keepdims=True) * axis
        rise = np.where(angle > 1e-9, rise, shift)
        point = np.einsum("cmij,cmj->cmi", np.linalg.pinv(np.eye(3) - turn, rcond=1e-9), shift - rise)
        return point, vector, rise

    def _sweep(self) -> Array:
        """Beads in conformations evenly spaced along the path, ``(b n 3)``."""
        count = round(STEPS * self.limits[1])
        return self.beads((np.arange(count) + 0.5)[:, None] / STEPS)


def read_scene(path: Path) -> SpikeScene:
    """The scene of a ``truth.npz`` that :meth:`SpikeScene.save` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return SpikeScene(
            points=stored["points"],
            weights=stored["weights"],
            domain=stored["domain"],
            rotation=stored["rotation"],
            translation=stored["translation"],
            coordinate=stored["coordinate"],
            amplitude=float(stored["amplitude"]),
            grid=Grid(int(stored["box"]), float(stored["pixel_size"])),
        )


def scene_from_structures(path: Path, chosen: list[int], particles: int, grid: Grid, seed: int) -> SpikeScene:
    """A scene along the ``chosen`` structures of the file, with particles spread evenly over the path at random.

    Raises InputError ``spike.not-found`` where the file is missing.
    """
    if not path.is_file():
        raise InputError("spike.not-found", "there is no such file", file=path, fix="give the structures' --structures")
    with np.load(path, allow_pickle=False) as stored:
        mass = np.array([MASS[element] for element in stored["element"]])
        names = np.char.add(stored["chain"], stored["resid"].astype(str))
        _, first, residue = np.unique(names, return_index=True, return_inverse=True)
        weights = np.bincount(residue, mass)
        coordinates = stored["coords"][chosen].astype(np.float64)
        beads = np.stack(
            [[np.bincount(residue, mass * axis) / weights for axis in conformer.T] for conformer in coordinates]
        ).transpose(0, 2, 1)
        domain = _bodies(stored["chain"][first], stored["resid"][first])
    beads -= (beads.reshape(-1, 3).max(axis=0) + beads.reshape(-1, 3).min(axis=0)) / 2.0
    rotation, translation = _fitted(beads, weights, domain)
    coordinate = np.random.default_rng([seed, 3]).uniform(0.0, len(chosen) - 1.0, (particles, 1))
    return SpikeScene(beads[0], weights / weights.mean(), domain, rotation, translation, coordinate, 1.0, grid)


def _bodies(chain: Array, residue: IntArray) -> IntArray:
    """The body of every residue: what belongs to no other is S2."""
    body = np.zeros(len(residue), dtype=np.int64)
    for letter in CHAINS:
        for name, ranges in REGIONS:
            inside = np.logical_or.reduce([(residue >= low) & (residue <= high) for low, high in ranges])
            body[(chain == letter) & inside] = BODIES.index(f"{name}_{letter}")
    return body


def _fitted(beads: Array, weights: Array, domain: IntArray) -> tuple[Array, Array]:
    """The rigid motion of every body from the first structure to each, after Kabsch; that of S2 is none."""
    rotation = np.tile(np.eye(3), (len(beads), len(BODIES), 1, 1))
    translation = np.zeros((len(beads), len(BODIES), 3))
    for body in range(1, len(BODIES)):
        mine = domain == body
        home = np.average(beads[0, mine], axis=0, weights=weights[mine])
        for i, conformer in enumerate(beads[1:], start=1):
            there = np.average(conformer[mine], axis=0, weights=weights[mine])
            turn, _ = Rotation.align_vectors(conformer[mine] - there, beads[0, mine] - home, weights[mine])
            rotation[i, body] = turn.as_matrix()
            translation[i, body] = there - turn.apply(home)
    return rotation, translation


def segment_labels(scene: SpikeScene, inside: Tensor) -> Tensor:
    """Segments ``(d d d)`` of the voxels that are ``inside``, -1 elsewhere, as atoms fitted into the mean map tell.

    What turns by itself is a segment, so is the subdomain that it hangs on, and the rest is another: a domain that
    opens glides along its neighbours, and tetrahedra that it shared with them would hold it back.
    """
    middle = scene.beads(np.full((1, 1), sum(scene.limits) / 2.0))[0]
    points = scene.grid.points(dtype=torch.float64)[inside.view(-1)].numpy()
    labels = torch.full(inside.shape, -1, dtype=torch.int64)
    labels[inside] = torch.from_numpy(_segment_of_body(scene)[scene.domain[cKDTree(middle).query(points)[1]]])
    return labels


def _segment_of_body(scene: SpikeScene) -> IntArray:
    turned = Rotation.from_matrix(scene.rotation[-1]).magnitude()
    segment = np.zeros(len(BODIES), dtype=np.int64)
    for chain in CHAINS:
        opening, held_by = BODIES.index(f"RBD_{chain}"), BODIES.index(f"SD_{chain}")
        if turned[opening] > LARGE_TURN:
            segment[held_by], segment[opening] = segment.max() + 1, segment.max() + 2
    return segment
