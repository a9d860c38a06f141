"""Laws of the coarse-graining: nothing lost, the paper's grouping, edges only along bonds."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dynaflex.density.coarse_grain import CoarseModel, coarse_grain, to_box_frame
from dynaflex.grid import Grid
from dynaflex.io.atoms import Atoms, read_atoms
from dynaflex.io.mrc import read_map

SIDE_CHAINS = {
    "GLY": "CA",
    "ALA": "CA CB",
    "SER": "CA CB OG",
    "CYS": "CA CB SG",
    "VAL": "CA CB CG1 CG2",
    "THR": "CA CB OG1 CG2",
    "PRO": "CA CB CG CD",
    "LEU": "CA CB CG CD1 CD2",
    "ILE": "CA CB CG1 CG2 CD1",
    "ASP": "CA CB CG OD1 OD2",
    "ASN": "CA CB CG OD1 ND2",
    "GLU": "CA CB CG CD OE1 OE2",
    "GLN": "CA CB CG CD OE1 NE2",
    "MET": "CA CB CG SD CE",
    "LYS": "CA CB CG CD CE NZ",
    "ARG": "CA CB CG CD NE CZ NH1 NH2",
    "HIS": "CA CB CG ND1 CD2 CE1 NE2",
    "PHE": "CA CB CG CD1 CD2 CE1 CE2 CZ",
    "TYR": "CA CB CG CD1 CD2 CE1 CE2 CZ OH",
    "TRP": "CA CB CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2",
}
GAUSSIANS = {**dict.fromkeys(("GLY", "ALA", "SER", "CYS", "VAL", "THR", "PRO"), 2), "TYR": 4, "TRP": 4}
SUGAR = "O5' C5' C4' O4' C3' O3' C2' C1'"
BASES = {
    "A": "N9 C8 N7 C5 C6 N6 N1 C2 N3 C4",
    "G": "N9 C8 N7 C5 C6 O6 N1 C2 N2 N3 C4",
    "C": "N1 C2 O2 N3 C4 N4 C5 C6",
    "U": "N1 C2 O2 N3 C4 O4 C5 C6",
    "DT": "N1 C2 O2 N3 C4 O4 C5 C7 C6",
}
ATOMIC_NUMBER = {"C": 6, "N": 7, "O": 8, "S": 16, "P": 15}


def residue(name: str, names: str, number: int = 1, chain: str = "A", seed: int = 0) -> Atoms:
    """One residue with its atoms scattered at random."""
    atom_name = np.array(names.split())
    element = np.array([atom[0] for atom in atom_name])
    n = len(atom_name)
    positions = np.random.default_rng(seed).normal(scale=3.0, size=(n, 3))
    charges = np.array([ATOMIC_NUMBER[symbol] for symbol in element], dtype=np.int64)
    constant = [np.full(n, value) for value in (name, str(number), chain)]
    return Atoms(positions, element, atom_name, constant[0], constant[1], constant[2], charges)


def joined(*parts: Atoms) -> Atoms:
    names = ("positions", "element", "atom_name", "residue_name", "residue_id", "chain", "atomic_number")
    return Atoms(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def moved(atoms: Atoms, atom: str, to: np.ndarray) -> Atoms:
    positions = atoms.positions.copy()
    positions[atoms.atom_name == atom] = to
    names = ("element", "atom_name", "residue_name", "residue_id", "chain", "atomic_number")
    return Atoms(positions, *(getattr(atoms, name) for name in names))


def at(atoms: Atoms, *names: str) -> np.ndarray:
    """The barycentre of named atoms."""
    return np.mean([atoms.positions[atoms.atom_name == name][0] for name in names], axis=0)


def components(model: CoarseModel) -> int:
    edges = model.edges.numpy()
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(model), len(model)))
    return int(connected_components(graph, directed=False)[0])


@pytest.mark.parametrize("name", SIDE_CHAINS)
def test_amino_acids_have_the_gaussians_of_the_paper(name: str) -> None:
    atoms = residue(name, "N C O " + SIDE_CHAINS[name])
    model = coarse_grain(atoms)
    assert len(model) == GAUSSIANS.get(name, 3)
    assert np.allclose(model.points[0], at(atoms, "N", "C", "O"), atol=1e-5)
    assert model.amplitudes[0] == 7 + 6 + 8
    assert model.amplitudes.sum() == atoms.atomic_number.sum()
    assert model.edges.tolist() == [[i, i + 1] for i in range(len(model) - 1)]
    assert not model.unknown


def test_side_chain_gaussians_sit_where_the_paper_puts_them() -> None:
    for name in ("ALA", "SER", "CYS", "VAL", "THR"):
        atoms = residue(name, "N C O " + SIDE_CHAINS[name])
        assert np.allclose(coarse_grain(atoms).points[1], at(atoms, "CB"), atol=1e-5)
    glycine = residue("GLY", "N C O CA")
    assert np.allclose(coarse_grain(glycine).points[1], at(glycine, "CA"), atol=1e-5)
    proline = residue("PRO", "N C O CA CB CG CD")
    assert np.allclose(coarse_grain(proline).points[1], at(proline, "CA", "CB", "CG", "CD"), atol=1e-5)
    lysine = residue("LYS", "N C O " + SIDE_CHAINS["LYS"])
    assert np.allclose(coarse_grain(lysine).points[1], at(lysine, "CA", "CB", "CG"), atol=1e-5)
    assert np.allclose(coarse_grain(lysine).points[2], at(lysine, "CD", "CE", "NZ"), atol=1e-5)
    isoleucine = residue("ILE", "N C O " + SIDE_CHAINS["ILE"])
    assert np.allclose(coarse_grain(isoleucine).points[1], at(isoleucine, "CA", "CB", "CG1", "CG2"), atol=1e-5)


@pytest.mark.parametrize("name", BASES)
def test_nucleotides_have_four_gaussians(name: str) -> None:
    atoms = residue(name, f"P OP1 OP2 {SUGAR} {BASES[name]}")
    model = coarse_grain(atoms)
    assert len(model) == 4
    assert np.allclose(model.points[0], at(atoms, "P"), atol=1e-5)
    assert np.allclose(model.points[1], at(atoms, *SUGAR.split()), atol=1e-5)
    assert model.amplitudes[0] == 15 + 8 + 8
    assert model.amplitudes.sum() == atoms.atomic_number.sum()
    assert model.edges.tolist() == [[0, 1], [1, 2], [2, 3]]
    # The two halves of a base are really two: neither is a token atom.
    assert model.amplitudes[2:].min() > 0.35 * model.amplitudes[2:].sum()


def test_old_nucleotide_names_mean_the_same() -> None:
    new = residue("DT", f"P OP1 OP2 {SUGAR} {BASES['DT']}")
    old = residue("DT", f"P O1P O2P {SUGAR} {BASES['DT']}".replace("'", "*"))
    assert torch.equal(coarse_grain(new).points, coarse_grain(old).points)


def test_the_first_nucleotide_without_phosphate_has_three() -> None:
    model = coarse_grain(residue("G", f"{SUGAR} {BASES['G']}"))
    assert len(model) == 3
    assert model.edges.tolist() == [[0, 1], [1, 2]]


def test_subsequent_amino_acids_are_joined_only_where_they_are_bonded() -> None:
    first = residue("LEU", "N C O " + SIDE_CHAINS["LEU"])
    second = residue("ALA", "N C O CA CB", number=2, seed=1)
    bonded = moved(second, "N", at(first, "C") + np.array([1.33, 0, 0]))
    broken = moved(second, "N", at(first, "C") + np.array([4.0, 0, 0]))
    assert [0, 3] in coarse_grain(joined(first, bonded)).edges.tolist()
    assert components(coarse_grain(joined(first, bonded))) == 1
    assert components(coarse_grain(joined(first, broken))) == 2
    other_chain = residue("ALA", "N C O CA CB", number=2, chain="B", seed=1)
    touching = moved(other_chain, "N", at(first, "C") + np.array([1.33, 0, 0]))
    assert components(coarse_grain(joined(first, touching))) == 2


def test_nucleotides_are_joined_from_sugar_to_phosphate() -> None:
    first = residue("A", f"P OP1 OP2 {SUGAR} {BASES['A']}")
    second = residue("U", f"P OP1 OP2 {SUGAR} {BASES['U']}", number=2, seed=1)
    second = moved(second, "P", at(first, "O3'") + np.array([0, 1.6, 0]))
    assert [1, 4] in coarse_grain(joined(first, second)).edges.tolist()
    five_prime = residue("A", f"{SUGAR} {BASES['A']}")
    second = moved(second, "P", at(five_prime, "O3'") + np.array([0, 1.6, 0]))
    assert [0, 3] in coarse_grain(joined(five_prime, second)).edges.tolist()


def test_an_alpha_trace_keeps_its_chain() -> None:
    trace = [
        moved(residue("ALA", "CA", number=i), "CA", np.array([3.8 * i + (20 if i > 3 else 0), 0, 0])) for i in range(6)
    ]
    model = coarse_grain(joined(*trace))
    assert len(model) == 6
    assert components(model) == 2


def test_an_unknown_residue_is_one_gaussian_with_a_warning_and_keeps_the_chain() -> None:
    first = residue("GLY", "N C O CA")
    second = residue("SEP", "N CA CB OG C O P O1P O2P O3P", number=2, seed=1)
    second = moved(second, "N", at(first, "C") + np.array([1.33, 0, 0]))
    model = coarse_grain(joined(first, second))
    assert model.unknown == {"SEP": 1}
    assert len(model) == 3
    assert np.allclose(model.points[2], second.positions.mean(axis=0), atol=1e-5)
    assert components(model) == 1


def test_missing_atoms_leave_out_gaussians_but_no_weight() -> None:
    atoms = residue("ARG", "N C O CA CB")
    model = coarse_grain(atoms)
    assert len(model) == 2
    assert model.amplitudes.sum() == atoms.atomic_number.sum()


def test_moving_all_atoms_moves_all_points() -> None:
    atoms = residue("TRP", "N C O " + SIDE_CHAINS["TRP"])
    shift = np.array([10.0, -4.0, 7.0])
    names = ("element", "atom_name", "residue_name", "residue_id", "chain", "atomic_number")
    elsewhere = Atoms(atoms.positions + shift, *(getattr(atoms, name) for name in names))
    assert np.allclose(coarse_grain(elsewhere).points - coarse_grain(atoms).points, shift, atol=1e-5)


def test_the_centre_voxel_is_the_origin_of_the_box_frame() -> None:
    grid, origin = Grid(10, 1.5), (3.0, -2.0, 40.0)
    voxel = torch.tensor([[5.0, 5.0, 5.0], [0.0, 9.0, 2.0]], dtype=torch.float64)
    deposited = voxel * 1.5 + torch.tensor(origin, dtype=torch.float64)
    inside = to_box_frame(deposited, 10, 1.5, origin)
    assert torch.allclose(inside[0], torch.zeros(3, dtype=torch.float64))
    axis = grid.axis(dtype=torch.float64)
    assert torch.allclose(inside[1], torch.stack([axis[0], axis[9], axis[2]]))


@pytest.mark.parametrize("name", ["1ake.pdb.gz", "6vxx.pdb.gz"])
def test_real_structures_lose_nothing_and_break_where_their_chains_break(name: str, structures: Path) -> None:
    atoms = read_atoms(structures / name)
    model = coarse_grain(atoms)
    assert model.amplitudes.sum() == atoms.atomic_number.sum()
    assert torch.isfinite(model.points).all()
    identity = list(zip(atoms.chain, atoms.residue_id, atoms.residue_name, strict=True))
    residues = list(dict.fromkeys(identity))
    assert int(model.residue_index[-1]) + 1 == len(residues)
    # Gaussians per residue type, for residues with all their atoms.
    size, count = Counter(identity), Counter(model.residue_index.tolist())
    for index, key in enumerate(residues):
        if key[2] in SIDE_CHAINS and size[key] == 3 + len(SIDE_CHAINS[key[2]].split()):
            assert count[index] == GAUSSIANS.get(key[2], 3), key
    # A segment is a run of subsequent numbers of known residues; unknown ones here are ligands, on their own.
    numbers = [(chain, int(number)) for chain, number, kind in residues if kind in SIDE_CHAINS]
    runs = sum((chain, number - 1) != before for before, (chain, number) in pairwise([("", 0), *numbers]))
    assert components(model) == runs + sum(model.unknown.values())


def test_a_deposited_model_sits_in_the_density_of_its_map(structures: Path) -> None:
    map_file = structures.parent / "maps" / "emd_3488.mrc"
    model_file = structures.parent / "maps" / "5ni1.cif.gz"
    density = read_map(map_file)
    assert density.pixel_size is not None
    deposited = coarse_grain(read_atoms(model_file)).points
    inside = to_box_frame(deposited, density.box, density.pixel_size, density.origin)
    voxel = (inside / density.pixel_size).round().long() + density.box // 2
    x, y, z = voxel.T
    values = torch.as_tensor(density.data)[z, y, x]
    assert values.mean() > density.data.mean() + 4 * density.data.std()
