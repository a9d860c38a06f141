"""Molecules to judge methods on: real structures whose domains move as rigid bodies, and made-up ones.

A residue is one bead at its centre of mass that weighs what its atoms weigh. The structures come from a folder of PDB
entries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from bodies import AT_REST, Bodies, BodyScene, scene_along, spread_evenly, superposition
from scipy.spatial.transform import Rotation

from dynaflex.grid import Grid
from dynaflex.io.atoms import read_atoms
from dynaflex.shapes import Array, BoolArray, IntArray
from dynaflex.simulation.molecule import DOMAINS, make_molecule
from dynaflex.simulation.motions import make_motion

MASS = {"C": 12.011, "N": 14.007, "O": 15.999, "S": 32.06, "P": 30.974}
RING, RING_BACKWARDS = "ABCDEFG", "AGFEDCB"
"""The chains of GroEL that rise; 1gru names them the other way round the ring."""
LAST_OF_FAB, HINGE = 235, (230, 240)
"""Residues of the heavy chain K of the antibody: the end of its Fab, and where it hangs."""
FAB_TURNS = np.radians(60.0)


@dataclass(frozen=True)
class Residues:
    """The residues of c superposed structures by ``names`` ``(n)``, chain/number, with ``weights`` ``(n)`` and
    ``beads`` ``(c n 3)``."""

    names: Array
    weights: Array
    beads: Array

    @property
    def chain(self) -> Array:
        """The chain of each ``(n)``."""
        return np.array([name.split("/")[0] for name in self.names])

    @property
    def number(self) -> IntArray:
        """The number of each ``(n)``, without insertion code."""
        return np.array([int(re.findall(r"/(-?\d+)", name)[0]) for name in self.names])

    def between(self, *ranges: tuple[int, int]) -> BoolArray:
        """Whose number lies in one of these ranges, ends included."""
        number = self.number
        return np.asarray(np.logical_or.reduce([(number >= low) & (number <= high) for low, high in ranges]))


def residues(chain: Array, residue_id: Array, element: Array, positions: Array) -> Residues:
    """The residues of atoms at ``positions`` ``(c a 3)``; ``chain``, ``residue_id`` and ``element`` are ``(a)``."""
    mass = np.array([MASS[one] for one in element])
    names, owner = np.unique(
        [f"{one}/{other}" for one, other in zip(chain, residue_id, strict=True)], return_inverse=True
    )
    weights = np.bincount(owner, mass)
    sums = [[np.bincount(owner, mass * axis) for axis in conformer.T] for conformer in positions.astype(np.float64)]
    return Residues(names, weights, np.array(sums).transpose(0, 2, 1) / weights[:, None])


def adenylate_kinase(folder: Path, particles: int, grid: Grid, seed: int) -> BodyScene:
    """From open (4ake) to closed (1ake): NMP and LID close over the core together."""
    both = _in_both(_read(folder / "4ake.pdb.gz", "A"), _read(folder / "1ake.pdb.gz", "A"))
    domain = both.between((30, 59)) + 2 * both.between((122, 159))
    bodies = Bodies(("CORE", "NMP", "LID"), np.array([AT_REST, 0, 1]), ("NMP", "LID"))
    both = _superposed(both, domain == 0)
    return scene_along(both.beads, both.weights, domain, bodies, particles, grid, seed)


def groel(folder: Path, particles: int, grid: Grid, seed: int) -> BodyScene:
    """Seven apical domains and those between them and the equator rise and turn together, from 1gr5 to 1gru."""
    resting, risen = _read(folder / "1gr5.pdb.gz"), _read(folder / "1gru.pdb.gz")
    rename = dict(zip(RING_BACKWARDS, RING, strict=True))
    renamed = np.array([rename.get(name[0], name[0]) + name[1:] for name in risen.names])
    both = _in_both(resting, replace(risen, names=renamed))
    domain = np.zeros(len(both.names), dtype=np.int64)
    names = ["equator"]
    for letter in RING:
        mine = both.chain == letter
        for name, ranges in (("apical", ((191, 376),)), ("between", ((134, 190), (377, 408)))):
            domain[mine & both.between(*ranges)] = len(names)
            names.append(f"{name}_{letter}")
    both = _superposed(both, (domain == 0) & np.isin(both.chain, list(RING)))
    bodies = Bodies(tuple(names), np.array([AT_REST, *[0] * (len(names) - 1)]), ("apical_A",))
    return scene_along(both.beads, both.weights, domain, bodies, particles, grid, seed)


def antibody(folder: Path, particles: int, grid: Grid, seed: int) -> BodyScene:
    """The Fab of chains K and M of 1hzh turns by 60 degrees about the line from the Fc to its hinge."""
    one = _read(folder / "1hzh.pdb.gz", "HKLM")
    heavy = one.chain == "K"
    fab = (one.chain == "M") | (heavy & (one.number <= LAST_OF_FAB))
    hinge = one.beads[0, heavy & one.between(HINGE)].mean(axis=0)
    axis = hinge - one.beads[0, np.isin(one.chain, ["H", "K"]) & (one.number > HINGE[1])].mean(axis=0)
    turn = Rotation.from_rotvec(FAB_TURNS / 2.0 * axis / np.linalg.norm(axis))
    beads = np.repeat(one.beads, 2, axis=0)
    for conformer, way in zip(beads, (turn.inv(), turn), strict=True):
        conformer[fab] = way.apply(conformer[fab] - hinge) + hinge
    bodies = Bodies(("rest", "Fab"), np.array([AT_REST, 0]), ("Fab",))
    return scene_along(beads, one.weights, fab.astype(np.int64), bodies, particles, grid, seed)


def made_up(motion: str, width: float, particles: int, grid: Grid, seed: int) -> BodyScene:
    """The molecule that `dynaflex simulate` makes for a box ``width`` Å wide, with one of its motions."""
    molecule = make_molecule(width, seed, motion)
    kind = make_motion(motion, molecule)
    present = DOMAINS[: int(molecule.domain.max()) + 1]
    rotation, translation = np.tile(np.eye(3), (2, len(present), 1, 1)), np.zeros((2, len(present), 3))
    follows = np.full(len(present), AT_REST)
    for column, rotor in enumerate(kind.rotors):
        turn = Rotation.from_rotvec(2.0 * kind.swing * rotor.axis)
        rotation[1, rotor.domain], translation[1, rotor.domain] = (
            turn.as_matrix(),
            rotor.point - turn.apply(rotor.point),
        )
        follows[rotor.domain] = column
    points = kind.displace(molecule.points, molecule.domain, np.full(kind.n_coordinates, -kind.swing))
    bodies = Bodies(present, follows, tuple(present[rotor.domain] for rotor in kind.rotors))
    coordinate = spread_evenly(particles, kind.n_coordinates, 1.0, seed)
    even = np.ones(len(points)), np.ones(particles)
    return BodyScene(points, even[0], molecule.domain, bodies, rotation, translation, coordinate, even[1], 1.0, grid)


def _read(path: Path, chains: str | None = None) -> Residues:
    """The residues of a PDB entry, or of some of its chains."""
    atoms = read_atoms(path)
    kept = np.isin(atoms.chain, list(chains)) if chains else np.ones(len(atoms), dtype=bool)
    return residues(atoms.chain[kept], atoms.residue_id[kept], atoms.element[kept], atoms.positions[None, kept])


def _in_both(one: Residues, other: Residues) -> Residues:
    """The residues that two have in common, which weigh what those of the first do."""
    names, mine, theirs = np.intersect1d(one.names, other.names, return_indices=True)
    return Residues(names, one.weights[mine], np.concatenate([one.beads[:, mine], other.beads[:, theirs]]))


def _superposed(both: Residues, on: BoolArray) -> Residues:
    """All structures brought to where the first has the residues ``on`` ``(n)``."""
    beads = [both.beads[0]]
    for conformer in both.beads[1:]:
        turn, shift = superposition(conformer[on], both.beads[0, on], both.weights[on])
        beads.append(conformer @ turn.T + shift)
    return replace(both, beads=np.stack(beads))
