"""Atomic models from PDB and mmCIF files (plain or gzipped), read by gemmi."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dynaflex.errors import EnvironmentFault, InputError
from dynaflex.shapes import Array, IntArray

if TYPE_CHECKING:
    import gemmi

StringArray = NDArray[np.str_]

_HALOGENS = ("F", "Cl", "Br", "I")


@dataclass(frozen=True)
class Atoms:
    """The atoms of a molecule, in the order of the file. Every array has one entry per atom.

    ``positions`` ``(n 3)`` are (x, y, z) in Å as deposited: the origin is the one of the file, not the centre of a box.
    ``residue_id`` is the author's residue number with its insertion code (``"52A"``); with ``chain`` and
    ``residue_name`` it tells residues apart. ``skipped`` counts, by reason, the atoms of the file that are not here.
    """

    positions: Array
    element: StringArray
    atom_name: StringArray
    residue_name: StringArray
    residue_id: StringArray
    chain: StringArray
    atomic_number: IntArray
    skipped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.positions)


def read_atoms(path: Path | str) -> Atoms:
    """Read the first model of a PDB or mmCIF file, without hydrogens, waters, ions and second conformations.

    Of alternative conformations the one with the highest occupancy is kept, the first of equals; so it is where two
    residue types share one place in the chain. Ligands and sugars stay.

    Raises:
        EnvironmentFault: gemmi is not installed.
        InputError: the file is missing, cannot be read, holds no atoms to keep, or a coordinate is not finite.
    """
    path = Path(path)
    try:
        return _kept(read_structure(path), path)
    except UnicodeDecodeError as error:
        raise _unreadable(path, error) from error


def _kept(structure: gemmi.Structure, path: Path) -> Atoms:
    skipped: Counter[str] = Counter()
    for model in list(structure)[1:]:
        skipped["other model"] += model.count_atom_sites()
    kept = [
        (chain.name, residue, atom)
        for chain in (structure[0] if len(structure) else [])
        for residue in _residues(chain, skipped)
        for atom in _heavy_atoms(residue, skipped)
    ]
    if not kept:
        raise InputError(
            "atoms.empty",
            "no atoms to use",
            file=path,
            found=_counted(skipped),
            fix="give the model of a macromolecule",
        )
    positions = np.array([atom.pos.tolist() for _, _, atom in kept], dtype=np.float64)
    _require_finite(positions, path)
    return Atoms(
        positions,
        np.array([atom.element.name for _, _, atom in kept]),
        np.array([atom.name for _, _, atom in kept]),
        np.array([residue.name for _, residue, _ in kept]),
        np.array([str(residue.seqid) for _, residue, _ in kept]),
        np.array([chain for chain, _, _ in kept]),
        np.array([atom.element.atomic_number for _, _, atom in kept], dtype=np.int64),
        {reason: count for reason, count in skipped.items() if count},
    )


def read_structure(path: Path) -> gemmi.Structure:
    """All that a PDB or mmCIF file holds.

    Raises:
        EnvironmentFault: gemmi is not installed.
        InputError: the file is missing or cannot be read.
    """
    try:
        import gemmi
    except ImportError as error:
        raise EnvironmentFault(
            "atoms.no-gemmi",
            "reading an atomic model needs the package gemmi",
            file=path,
            fix="pip install dynaflex[atoms]",
        ) from error
    if not path.is_file():
        raise InputError("atoms.missing", "no such file", file=path, fix="check the path of the atomic model")
    try:
        if path.suffix == ".gz":
            require_whole(path)
        return gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        "atoms.unreadable",
        "this is no readable atomic model",
        file=path,
        expected="PDB or mmCIF, plain or .gz, with the usual ending (.pdb, .ent, .cif)",
        found=" ".join(str(error).split()),
        fix="give the model in one of these formats; copy it again if it was cut off",
    )


def require_whole(path: Path) -> None:
    """Unpack a gzip file once: gemmi takes what it gets from a file that was cut off and says nothing."""
    with gzip.open(path) as stream:
        while stream.read(1 << 20):
            pass


def _residues(chain: gemmi.Chain, skipped: Counter[str]) -> Iterator[gemmi.Residue]:
    """The residues of a chain without waters and ions, one per place in the chain."""
    for _, group in groupby(chain, key=lambda residue: str(residue.seqid)):
        for residue in _one_type(list(group), skipped):
            if residue.is_water():
                skipped["water"] += len(residue)
            elif _is_ion(residue):
                skipped["ion"] += len(residue)
            else:
                yield residue


def _one_type(residues: list[gemmi.Residue], skipped: Counter[str]) -> list[gemmi.Residue]:
    """Where several residue types share a place as alternatives, the one with the highest occupancy."""
    alternatives = [residue for residue in residues if all(atom.altloc != "\0" for atom in residue)]
    if len(alternatives) < 2:
        return residues
    best = max(alternatives, key=lambda residue: max((atom.occ for atom in residue), default=0.0))
    skipped["alternative conformation"] += sum(len(residue) for residue in alternatives if residue is not best)
    return [residue for residue in residues if residue is best or residue not in alternatives]


def _is_ion(residue: gemmi.Residue) -> bool:
    """A single metal or halogen atom; a lone carbon is the C-alpha of a traced chain."""
    if len({atom.name for atom in residue}) != 1:
        return False
    element = residue[0].element
    return element.is_metal or element.name in _HALOGENS


def _heavy_atoms(residue: gemmi.Residue, skipped: Counter[str]) -> Iterator[gemmi.Atom]:
    """One atom per name, hydrogens and unknown elements left out."""
    heavy: dict[str, list[gemmi.Atom]] = {}
    for atom in residue:
        if atom.element.is_hydrogen:
            skipped["hydrogen"] += 1
        elif atom.element.atomic_number == 0:
            skipped["unknown element"] += 1
        else:
            heavy.setdefault(atom.name, []).append(atom)
    conformer = _best_conformer(residue)
    for copies in heavy.values():
        skipped["alternative conformation"] += len(copies) - 1
        yield max(copies, key=lambda atom: (atom.altloc == conformer, atom.occ))


def _best_conformer(residue: gemmi.Residue) -> str | None:
    """The altloc with the highest total occupancy, so that a residue is not stitched together from two."""
    total: dict[str, float] = {}
    for atom in residue:
        if atom.altloc != "\0":
            total[atom.altloc] = total.get(atom.altloc, 0.0) + atom.occ
    return max(total, key=lambda altloc: total[altloc]) if total else None


def _counted(skipped: Counter[str]) -> str:
    return ", ".join(f"{count} x {reason}" for reason, count in skipped.items() if count) or "an empty model"


def _require_finite(positions: Array, path: Path) -> None:
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if len(bad):
        raise InputError(
            "atoms.not-finite",
            f"{len(bad)} atoms have no finite position",
            file=path,
            found=f"atom {int(bad[0])} of those read is at {positions[bad[0]].tolist()}",
            fix="remove these atoms",
        )
