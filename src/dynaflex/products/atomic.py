"""An atomic model carried along a series of conformations, as one file with a model per conformation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dynaflex.errors import InputError
from dynaflex.io import durable
from dynaflex.io.atoms import read_structure
from dynaflex.products.series import Series, displaced
from dynaflex.results.trained import TrainedHalf
from dynaflex.shapes import Array

if TYPE_CHECKING:
    import gemmi


class AtomicModel:
    """All atoms of the first model of a PDB or mmCIF file, hydrogens and waters too.

    ``positions`` ``(n 3)`` are in Å from the box centre, which is ``corner`` ``(3)`` in the file's coordinates.
    """

    def __init__(self, path: Path, corner: Array) -> None:
        """Read the file.

        Raises:
            EnvironmentFault: gemmi is not installed.
            InputError: the file is missing, cannot be read, or has no atoms.
        """
        self._structure = read_structure(path)
        if not len(self._structure) or not self._structure[0].count_atom_sites():
            raise InputError(
                "analyze.empty-model", "this atomic model has no atoms", file=path, fix="give the model that was fitted"
            )
        while len(self._structure) > 1:
            del self._structure[1]
        self._structure.merge_chain_parts()
        deposited = np.array([atom.pos.tolist() for atom in _atoms(self._structure[0])], dtype=np.float64)
        self._deposited, self.positions = deposited, deposited - corner

    def write_series(self, trained: TrainedHalf, series: Series, path: Path) -> None:
        """Write the model as it lies in each conformation, as mmCIF, in the coordinates of the file it came from."""
        moved = self._deposited + displaced(trained, series, self.positions)
        structure = self._structure.clone()
        for frame in moved[1:]:
            model = self._structure[0].clone()
            model.num = len(structure) + 1
            _move(model, frame)
            structure.add_model(model)
        _move(structure[0], moved[0])
        structure.name = path.stem
        structure.setup_entities()
        durable.write_text(path, structure.make_mmcif_document().as_string())


def _atoms(model: gemmi.Model) -> list[gemmi.Atom]:
    return [atom for chain in model for residue in chain for atom in residue]


def _move(model: gemmi.Model, positions: Array) -> None:
    for atom, (x, y, z) in zip(_atoms(model), positions, strict=True):
        atom.pos.x, atom.pos.y, atom.pos.z = float(x), float(y), float(z)
