"""An atomic model as a few pseudo-atoms per residue, with the bonds between them.

The grouping is the paper's. Amino acids: one main-chain Gaussian at the barycentre of N, C and O; one at the barycentre
of the side-chain atoms in positions alpha, beta and gamma; one more at that of the rest, where there is a rest. PRO
takes alpha to delta into its single side-chain Gaussian; SER, CYS, ALA, GLY, VAL and THR have theirs at the beta atom
(GLY, without one, at alpha); TYR and TRP split the rest in two. Nucleotides: phosphate, sugar and two for the base.

Where the paper leaves a choice: a Gaussian placed *at* an atom still carries the weight of its whole group; the
terminal oxygen joins the main chain; TYR is split into ring and hydroxyl end, TRP and the bases into the part near the
chain and the part far from it. So every atom belongs to exactly one Gaussian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dynaflex.grid import Grid
from dynaflex.shapes import Array, IntArray, Tensor

_MAIN_CHAIN = frozenset({"N", "C", "O", "OXT", "OT1", "OT2"})
_AT_BETA = frozenset({"SER", "CYS", "ALA", "GLY", "VAL", "THR"})
_AMINO_ACIDS = _AT_BETA | frozenset(
    {"PRO", "ARG", "ASN", "ASP", "GLN", "GLU", "HIS", "ILE", "LEU", "LYS", "MET", "MSE", "PHE", "TRP", "TYR"}
)
_SIDE_CHAIN_END = {"TYR": frozenset({"CZ", "OH"}), "TRP": frozenset({"CE3", "CZ2", "CZ3", "CH2"})}

_PHOSPHATE = frozenset({"P", "OP1", "OP2", "OP3", "O1P", "O2P", "O3P"})
_PURINE = frozenset({"N9", "C8", "N7", "C5", "C4"})
_PYRIMIDINE = frozenset({"N1", "C6", "C2", "O2"})
_BASE_NEAR_SUGAR = {
    **dict.fromkeys(("A", "G", "I", "DA", "DG", "DI"), _PURINE),
    **dict.fromkeys(("C", "U", "T", "DC", "DU", "DT"), _PYRIMIDINE),
}

# Longest distance in Å at which two atoms of subsequent residues count as bonded; the bonds measure 1.33 and 1.61 Å.
_PEPTIDE_BOND, _PHOSPHODIESTER_BOND = 2.0, 2.4
# Between alpha atoms one bond apart it is 3.8 Å; used only where a traced chain has no N and C.
_ALPHA_TRACE = 4.3


class AtomTable(Protocol):
    """Atoms in the order of their chains, one entry per atom and array: what :mod:`dynaflex.io.atoms` reads."""

    @property
    def positions(self) -> Array: ...
    @property
    def atom_name(self) -> NDArray[np.str_]: ...
    @property
    def residue_name(self) -> NDArray[np.str_]: ...
    @property
    def residue_id(self) -> NDArray[np.str_]: ...
    @property
    def chain(self) -> NDArray[np.str_]: ...
    @property
    def atomic_number(self) -> IntArray: ...


@dataclass(frozen=True)
class CoarseModel:
    """Pseudo-atoms of an atomic model.

    ``points`` ``(n 3)`` in Å, in the frame of the atoms; ``amplitudes`` ``(n)``, the summed atomic numbers of each
    group; ``edges`` ``(e 2)`` int64, the bonds E; ``residue_index`` ``(n)`` int64, counting residues in file order.
    ``unknown`` counts, by name, the residues of no known type, each of which became one Gaussian: worth a warning.
    """

    points: Tensor
    amplitudes: Tensor
    edges: Tensor
    residue_index: Tensor
    unknown: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.points)


def coarse_grain(atoms: AtomTable) -> CoarseModel:
    """Group the atoms of every residue into Gaussians and connect them. Implements the graph E of [DM 5].

    Gaussians of one residue form a chain of edges from the main chain outwards; from phosphate to base in nucleotides.
    Main chains of subsequent residues of a chain are connected where the atoms really are bonded, so a gap in the
    model is a gap in the graph. Hydrogens should not be among ``atoms``; other atoms count by their atomic number.
    """
    points: list[Array] = []
    amplitudes: list[float] = []
    edges: list[tuple[int, int]] = []
    residue_index: list[int] = []
    unknown: dict[str, int] = {}
    previous: _Residue | None = None
    for index, (start, stop) in enumerate(_residue_ranges(atoms)):
        residue = _Residue(atoms, start, stop, first_node=len(points))
        if not residue.known:
            unknown[residue.name] = unknown.get(residue.name, 0) + 1
        for position, amplitude in residue.gaussians():
            points.append(position)
            amplitudes.append(amplitude)
            residue_index.append(index)
        edges.extend((node, node + 1) for node in range(residue.first_node, len(points) - 1))
        if previous is not None and _bonded(previous, residue):
            edges.append((previous.tail, residue.head))
        previous = residue
    return CoarseModel(
        torch.as_tensor(np.array(points, dtype=np.float32).reshape(-1, 3)),
        torch.tensor(amplitudes, dtype=torch.float32),
        torch.tensor(edges, dtype=torch.int64).reshape(-1, 2),
        torch.tensor(residue_index, dtype=torch.int64),
        unknown,
    )


def to_box_frame(positions: Tensor, box: int, pixel_size: float, origin: Sequence[float] = (0.0, 0.0, 0.0)) -> Tensor:
    """Move deposited coordinates ``(n 3)`` into the frame of a map: origin at the centre of its box.

    Deposited coordinates are measured from the map's first voxel, which itself sits at ``origin`` (x, y, z) in Å: the
    MRC header's ORIGIN, or NSTART times the pixel size. ``box`` in voxels, ``pixel_size`` in Å.
    """
    corner = torch.as_tensor(origin, dtype=positions.dtype, device=positions.device)
    return positions - corner - Grid(box, pixel_size).center * pixel_size


class _Residue:
    """The atoms ``start:stop`` of one residue, grouped; its Gaussians get the numbers from ``first_node`` on."""

    def __init__(self, atoms: AtomTable, start: int, stop: int, first_node: int) -> None:
        self.name = str(atoms.residue_name[start])
        self.chain = str(atoms.chain[start])
        self.first_node = first_node
        self.known = self.name in _AMINO_ACIDS or self.name in _BASE_NEAR_SUGAR
        self.positions = atoms.positions[start:stop]
        self.weights = atoms.atomic_number[start:stop].astype(np.float64)
        self.rows = {str(name).replace("*", "'"): row for row, name in enumerate(atoms.atom_name[start:stop])}
        self.groups: dict[int, list[int]] = {}
        for row, name in enumerate(atoms.atom_name[start:stop]):
            self.groups.setdefault(_group(self.name, str(name).replace("*", "'")), []).append(row)

    def gaussians(self) -> list[tuple[Array, float]]:
        """Position and amplitude of every Gaussian, from the main chain outwards."""
        return [
            (self._place(number, rows), float(self.weights[rows].sum())) for number, rows in sorted(self.groups.items())
        ]

    def _place(self, number: int, rows: list[int]) -> Array:
        named = self.atom(_named_place(self.name, number))
        return self.positions[rows].mean(axis=0) if named is None else named

    def atom(self, name: str | None) -> Array | None:
        """The position of an atom, None where it is missing."""
        return self.positions[self.rows[name]] if name in self.rows else None

    @property
    def head(self) -> int:
        """The Gaussian that the previous residue binds to."""
        return self.first_node

    @property
    def tail(self) -> int:
        """The Gaussian that the next residue binds to: the sugar of a nucleotide, the main chain of an amino acid."""
        has_phosphate_and_sugar = self.name in _BASE_NEAR_SUGAR and {0, 1} <= self.groups.keys()
        return self.first_node + int(has_phosphate_and_sugar)


def _residue_ranges(atoms: AtomTable) -> list[tuple[int, int]]:
    """First and past-the-last atom of every residue."""
    identity = (atoms.chain, atoms.residue_id, atoms.residue_name)
    changed = np.zeros(max(len(atoms.positions) - 1, 0), dtype=bool)
    for column in identity:
        changed |= column[1:] != column[:-1]
    bounds = [0, *(np.flatnonzero(changed) + 1).tolist(), len(atoms.positions)]
    return list(pairwise(bounds)) if len(atoms.positions) else []


def _group(residue: str, atom: str) -> int:
    """The number of the group that an atom belongs to."""
    if residue in _BASE_NEAR_SUGAR:
        return _nucleotide_group(atom, _BASE_NEAR_SUGAR[residue])
    if residue not in _AMINO_ACIDS or atom in _MAIN_CHAIN:
        return 0
    position = atom[1:2]  # the second letter of an atom's name is its Greek position
    if residue in _AT_BETA or residue == "PRO" or position in ("A", "B", "G"):
        return 1
    return 3 if atom in _SIDE_CHAIN_END.get(residue, ()) else 2


def _nucleotide_group(atom: str, near_sugar: frozenset[str]) -> int:
    if atom in _PHOSPHATE:
        return 0
    if atom.endswith("'"):
        return 1
    return 2 if atom in near_sugar else 3


def _named_place(residue: str, group: int) -> str | None:
    """The atom at which the paper puts a Gaussian, None where it takes the barycentre."""
    if residue in _AT_BETA and group == 1:
        return "CB"
    if residue in _BASE_NEAR_SUGAR and group == 0:
        return "P"
    return None


def _bonded(first: _Residue, second: _Residue) -> bool:
    """True where subsequent residues are joined by a peptide or phosphodiester bond."""
    if first.chain != second.chain:
        return False
    peptide = first.atom("C"), second.atom("N")
    ester = first.atom("O3'"), second.atom("P")
    if _within(peptide, _PEPTIDE_BOND) or _within(ester, _PHOSPHODIESTER_BOND):
        return True
    traced = any(end is None for end in peptide)
    return traced and _within((first.atom("CA"), second.atom("CA")), _ALPHA_TRACE)


def _within(ends: tuple[Array | None, Array | None], distance: float) -> bool:
    first, second = ends
    return first is not None and second is not None and float(np.linalg.norm(first - second)) <= distance
