"""A molecule of rigid bodies on smooth paths through known structures, as the judge sees it, and images of it.

Between two structures a body follows the screw that takes it from one pose to the next. A body may stay where it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from dynaflex.grid import Grid
from dynaflex.io.durable import write_npz
from dynaflex.io.mrc import write_map
from dynaflex.judge.scene import Part
from dynaflex.shapes import Array, IntArray, Tensor
from dynaflex.simulation.microscope import Acquisition, Atoms, draw_acquisition, in_uneven_ice, write_particles
from dynaflex.simulation.truth import density_map, mask_around

SIGMA = 2.0
"""Width of a bead in Å: that of the atoms of `dynaflex simulate`."""
STEPS = 24
"""Conformations between two structures in a mean over the motion."""
AT_REST = -1


@dataclass(frozen=True)
class Bodies:
    """The m bodies of a molecule by ``names``, the first of which never moves.

    ``follows`` ``(m)`` is the coordinate of a state that a body goes along with, or ``AT_REST``. ``judged`` names the
    body that each coordinate is judged by.
    """

    names: tuple[str, ...]
    follows: IntArray
    judged: tuple[str, ...]


@dataclass(frozen=True)
class BodyScene:
    """The beads of the first structure, ``points`` ``(n 3)`` of ``weights`` ``(n)`` in the bodies ``domain`` ``(n)``.

    ``rotation`` ``(c m 3 3)`` and ``translation`` ``(c m 3)`` take the m bodies from there to c structures, the first
    included. ``coordinate`` ``(p k)``, from 0 to c - 1, is how far along the path a particle is. A state has a
    coordinate for every judged body, and may have more of them than particles have: those share the particle's last.
    ``contrast`` ``(p)`` is how strongly a particle shows.
    """

    points: Array
    weights: Array
    domain: IntArray
    bodies: Bodies
    rotation: Array
    translation: Array
    coordinate: Array
    contrast: Array
    amplitude: float
    grid: Grid
    search: int = 13

    @property
    def moving(self) -> tuple[Part, ...]:
        """The judged bodies, in the order of a state."""
        return tuple(Part(name, self.bodies.names.index(name)) for name in self.bodies.judged)

    @property
    def still(self) -> Part:
        """The first body."""
        return Part(self.bodies.names[0], 0)

    @property
    def limits(self) -> tuple[float, float]:
        """From the first structure to the last."""
        return 0.0, len(self.rotation) - 1.0

    def at_rest(self) -> BodyScene:
        """The same molecule, all of it rigid in its first structure."""
        rest = Bodies(self.bodies.names, np.full_like(self.bodies.follows, AT_REST), ())
        return replace(self, bodies=rest, coordinate=np.zeros_like(self.coordinate))

    def beads(self, coordinate: Array) -> Array:
        """All beads in the conformations ``coordinate`` ``(b k)``, or states ``(b m)``, as ``(b n 3)``."""
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
            column = self.bodies.follows[body]
            if column == AT_REST:
                continue
            turn, shift = self._pose(body, coordinate[:, min(column, coordinate.shape[1] - 1)])
            inside = owner == body
            moved[:, inside] = points[inside] @ turn.transpose(0, 2, 1) + shift[:, None]
        return np.asarray(moved - points)

    def save(self, path: Path, acquisition: Acquisition, snr: float, seed: int) -> None:
        """Write ``truth.npz``: plain arrays, angles in degrees, one row per particle where there is one."""
        write_npz(
            path,
            points=self.points,
            weights=self.weights,
            domain=self.domain,
            domain_names=np.array(self.bodies.names),
            follows=self.bodies.follows,
            judged=np.array(self.bodies.judged, dtype=np.str_),
            rotation=self.rotation,
            translation=self.translation,
            coordinate=self.coordinate,
            contrast=self.contrast,
            euler=acquisition.euler,
            shift=-acquisition.origin,
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
        """Beads in conformations evenly spaced along the path, ``(b n 3)``; in one where nothing moves."""
        if np.all(self.bodies.follows == AT_REST):
            return self.points[None]
        count = round(STEPS * self.limits[1])
        return self.beads((np.arange(count) + 0.5)[:, None] / STEPS)


def read_scene(path: Path) -> BodyScene:
    """The scene of a ``truth.npz`` that :meth:`BodyScene.save` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return BodyScene(
            points=stored["points"],
            weights=stored["weights"],
            domain=stored["domain"],
            bodies=Bodies(tuple(stored["domain_names"].tolist()), stored["follows"], tuple(stored["judged"].tolist())),
            rotation=stored["rotation"],
            translation=stored["translation"],
            coordinate=stored["coordinate"],
            contrast=stored["contrast"],
            amplitude=float(stored["amplitude"]),
            grid=Grid(int(stored["box"]), float(stored["pixel_size"])),
        )


def scene_along(
    beads: Array, weights: Array, domain: IntArray, bodies: Bodies, particles: int, grid: Grid, seed: int
) -> BodyScene:
    """The scene along superposed structures ``beads`` ``(c n 3)``, centred, with particles spread evenly at random."""
    middle = (beads.reshape(-1, 3).max(axis=0) + beads.reshape(-1, 3).min(axis=0)) / 2.0
    beads = beads - middle
    rotation, translation = _fitted(beads, weights, domain, bodies.follows)
    coordinate = spread_evenly(particles, 1, len(beads) - 1.0, seed)
    relative = weights / weights.mean()
    return BodyScene(
        beads[0], relative, domain, bodies, rotation, translation, coordinate, np.ones(particles), 1.0, grid
    )


def spread_evenly(particles: int, coordinates: int, end: float, seed: int) -> Array:
    """Independent coordinates ``(p k)``, uniform from 0 to ``end``."""
    return np.random.default_rng([seed, 5]).uniform(0.0, end, (particles, coordinates))


def write_data_set(
    out: Path, scene: BodyScene, snr: float, seed: int, contrast_spread: float = 0.0, ramp_spread: float = 0.0
) -> BodyScene:
    """The files of `dynaflex simulate`, without segments. Returns the scene on the grey scale of the images."""
    random, noise = (np.random.default_rng([seed, stream]) for stream in (1, 2))
    even = draw_acquisition(len(scene.coordinate), random)
    acquisition = in_uneven_ice(even, contrast_spread, ramp_spread, seed)
    atoms = Atoms(lambda rows: scene.beads(scene.coordinate[rows]), scene.weights, SIGMA)
    amplitude = write_particles(out, scene.grid, atoms, acquisition, snr, noise)
    scene = replace(scene, amplitude=amplitude, contrast=acquisition.contrast)
    for name, volume in (("consensus", scene.mean_volume()), ("mask", scene.mask(None, None))):
        write_map(out / f"{name}.mrc", volume.numpy(), scene.grid.pixel_size)
    scene.save(out / "truth.npz", acquisition, snr, seed)
    return scene


def _fitted(beads: Array, weights: Array, domain: IntArray, follows: IntArray) -> tuple[Array, Array]:
    """The rigid motion of every body from the first structure to each, after Kabsch; what is at rest has none."""
    rotation = np.tile(np.eye(3), (len(beads), len(follows), 1, 1))
    translation = np.zeros((len(beads), len(follows), 3))
    for body in np.flatnonzero(follows != AT_REST):
        mine = domain == body
        for i, conformer in enumerate(beads[1:], start=1):
            rotation[i, body], translation[i, body] = superposition(beads[0, mine], conformer[mine], weights[mine])
    return rotation, translation


def superposition(start: Array, end: Array, weights: Array) -> tuple[Array, Array]:
    """The rotation ``(3 3)`` and translation ``(3)`` that take points ``(n 3)`` best to others, after Kabsch."""
    home, there = (np.average(points, axis=0, weights=weights) for points in (start, end))
    turn, _ = Rotation.align_vectors(end - there, start - home, weights)
    return turn.as_matrix(), there - turn.apply(home)
