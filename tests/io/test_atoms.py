"""Laws of reading atomic models: every atom of the file is kept or counted."""

from __future__ import annotations

import builtins
import gzip
from pathlib import Path

import numpy as np
import pytest

from dynaflex.errors import EnvironmentFault, InputError
from dynaflex.io.atoms import read_atoms

gemmi = pytest.importorskip("gemmi")


def atom_line(
    serial: int,
    name: str,
    residue: str,
    number: int,
    element: str,
    x: float,
    *,
    chain: str = "A",
    altloc: str = " ",
    insertion: str = " ",
    occupancy: float = 1.0,
    record: str = "ATOM",
) -> str:
    padded = f" {name:<3}" if len(element) == 1 else f"{name:<4}"
    return (
        f"{record:<6}{serial:>5} {padded}{altloc}{residue:>3} {chain}{number:>4}{insertion}   "
        f"{x:8.3f}{2.0:8.3f}{3.0:8.3f}{occupancy:6.2f}{10.0:6.2f}          {element:>2}"
    )


LINES = [
    atom_line(1, "N", "SER", 1, "N", 1.0),
    atom_line(2, "CA", "SER", 1, "C", 2.0),
    atom_line(3, "HA", "SER", 1, "H", 2.5),
    atom_line(4, "CB", "SER", 1, "C", 3.0, altloc="A", occupancy=0.4),
    atom_line(5, "CB", "SER", 1, "C", 3.5, altloc="B", occupancy=0.6),
    atom_line(6, "OG", "SER", 1, "O", 4.0, altloc="A", occupancy=0.5),
    atom_line(7, "OG", "SER", 1, "O", 4.5, altloc="B", occupancy=0.5),
    atom_line(8, "N", "GLY", 1, "N", 5.0, insertion="A"),
    atom_line(9, "CA", "ALA", 2, "C", 6.0, altloc="A", occupancy=0.3),
    atom_line(10, "CA", "VAL", 2, "C", 6.1, altloc="B", occupancy=0.7),
    atom_line(11, "CA", "LEU", 3, "C", 7.0),
    atom_line(12, "C1", "NAG", 90, "C", 8.0, record="HETATM"),
    atom_line(13, "O3", "NAG", 90, "O", 8.5, record="HETATM"),
    atom_line(14, "CA", " CA", 91, "CA", 9.0, record="HETATM"),
    atom_line(15, "CL", " CL", 92, "CL", 9.5, record="HETATM"),
    atom_line(16, "O", "HOH", 93, "O", 10.0, record="HETATM"),
]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.pdb"
    path.write_text("\n".join([*LINES, "END", ""]))
    return path


def test_waters_ions_hydrogens_and_second_conformations_are_left_out_and_counted(small: Path) -> None:
    atoms = read_atoms(small)
    assert atoms.skipped == {"hydrogen": 1, "alternative conformation": 3, "ion": 2, "water": 1}
    assert len(atoms) + sum(atoms.skipped.values()) == len(LINES)


def test_the_conformation_of_highest_occupancy_is_kept_whole(small: Path) -> None:
    atoms = read_atoms(small)
    serine = atoms.residue_name == "SER"
    kept = dict(zip(atoms.atom_name[serine].tolist(), atoms.positions[serine, 0].tolist(), strict=True))
    # Both OG are equally likely; B is taken because CB is B.
    assert kept == {"N": 1.0, "CA": 2.0, "CB": 3.5, "OG": 4.5}
    assert "ALA" not in atoms.residue_name and "VAL" in atoms.residue_name


def test_the_columns_describe_the_atoms(small: Path) -> None:
    atoms = read_atoms(small)
    assert atoms.residue_id.tolist() == ["1"] * 4 + ["1A", "2", "3", "90", "90"]
    assert set(atoms.chain.tolist()) == {"A"}
    assert atoms.positions.dtype == np.float64 and atoms.positions[0].tolist() == [1.0, 2.0, 3.0]
    charge = {"C": 6, "N": 7, "O": 8}
    assert atoms.atomic_number.tolist() == [charge[symbol] for symbol in atoms.element]
    # An alpha carbon alone is a traced residue, not a calcium ion.
    assert "LEU" in atoms.residue_name


def test_mmcif_and_gzip_read_as_pdb_does(small: Path, tmp_path: Path) -> None:
    gemmi.read_structure(str(small)).make_mmcif_document().write_file(str(tmp_path / "small.cif"))
    with gzip.open(tmp_path / "small.pdb.gz", "wb") as stream:
        stream.write(small.read_bytes())
    reference = read_atoms(small)
    for name in ("small.cif", "small.pdb.gz"):
        other = read_atoms(tmp_path / name)
        assert np.allclose(other.positions, reference.positions)
        for column in ("element", "atom_name", "residue_name", "residue_id", "chain", "atomic_number"):
            assert getattr(other, column).tolist() == getattr(reference, column).tolist(), column
        assert other.skipped == reference.skipped


def test_only_the_first_model_is_read(small: Path, tmp_path: Path) -> None:
    models = ["MODEL        1", *LINES, "ENDMDL", "MODEL        2", *LINES, "ENDMDL", "END", ""]
    (tmp_path / "two.pdb").write_text("\n".join(models))
    atoms = read_atoms(tmp_path / "two.pdb")
    assert len(atoms) == len(read_atoms(small))
    assert atoms.skipped["other model"] == len(LINES)


@pytest.mark.parametrize("name", ["1ake.pdb.gz", "4ake.pdb.gz", "6vyb.pdb.gz"])
def test_every_atom_of_a_real_entry_is_kept_or_counted(name: str, structures: Path) -> None:
    with gzip.open(structures / name, "rt") as stream:
        records = sum(line.startswith(("ATOM  ", "HETATM")) for line in stream)
    atoms = read_atoms(structures / name)
    assert len(atoms) + sum(atoms.skipped.values()) == records
    assert len(atoms) > 0.85 * records
    assert "HOH" not in atoms.residue_name


@pytest.mark.parametrize(
    ("name", "content", "identifier", "told"),
    [
        ("absent.pdb", None, "atoms.missing", "no such file"),
        ("notes.txt", b"not a model", "atoms.unreadable", "PDB or mmCIF"),
        ("broken.cif", b"data_x\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1\n", "atoms.unreadable", "PDB or mmCIF"),
        ("cut.pdb.gz", gzip.compress("\n".join(LINES).encode())[:-40], "atoms.unreadable", "PDB or mmCIF"),
        ("water.pdb", f"{LINES[-1]}\nEND\n".encode(), "atoms.empty", "1 x water"),
        ("lost.pdb", LINES[0].replace("   1.000", "     nan").encode(), "atoms.not-finite", "1 atoms have no finite"),
    ],
)
def test_bad_files_are_named_with_a_remedy(
    tmp_path: Path, name: str, content: bytes | None, identifier: str, told: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=told) as caught:
        read_atoms(tmp_path / name)
    assert caught.value.identifier == identifier
    assert caught.value.file == tmp_path / name
    assert caught.value.fix


def test_a_missing_gemmi_is_told_how_to_install(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_gemmi(name: str, *rest: object, **more: object) -> object:
        if name == "gemmi":
            raise ImportError("No module named 'gemmi'")
        return original(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_gemmi)
    with pytest.raises(EnvironmentFault, match=r"pip install dynaflex\[atoms\]") as caught:
        read_atoms(small)
    assert caught.value.identifier == "atoms.no-gemmi"
    assert caught.value.exit_code == 4
