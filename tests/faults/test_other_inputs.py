"""Rows K of the list: cryoSPARC's tables, pickles, atomic models."""

from __future__ import annotations

import os
import pickle  # noqa: TID251  (to see that it is refused)
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cryosparc_files import PASSED_THROUGH, in_classes, only, records, with_column, without, write_cs
from dynaflex.data.particles import read_particles
from dynaflex.io.mrc import ImageStack, write_stack
from dynaflex.io.star import read_star
from dynaflex.simulation.truth import read_truth
from faults.harness import Command, Fault, Toy, prove

GOOD = ("particles: 120 used", "images read: 120", "nothing wrong")
Rows = np.ndarray


def cs_path(toy: Toy) -> Path:
    return toy.folder / "J12_particles.cs"


def checked(toy: Toy) -> list[object]:
    return ["check", cs_path(toy), "--map", toy.map, "--mask", toy.mask]


def table(change: Callable[[Rows], Rows]) -> Callable[[Toy], list[object]]:
    """Check the particles as cryoSPARC lists them, after the records were changed."""

    def command(toy: Toy) -> list[object]:
        write_cs(cs_path(toy), change(records(toy.particles, 6.0)))
        return checked(toy)

    return command


def content(change: Callable[[bytes], bytes]) -> Callable[[Toy], list[object]]:
    """Check the particles after the bytes of cryoSPARC's file were changed."""

    def command(toy: Toy) -> list[object]:
        write_cs(cs_path(toy), records(toy.particles, 6.0))
        cs_path(toy).write_bytes(change(cs_path(toy).read_bytes()))
        return checked(toy)

    return command


def with_objects(toy: Toy) -> list[object]:
    rows = records(toy.particles, 6.0)
    objects = np.zeros(len(rows), dtype=[*rows.dtype.descr, ("ctf/notes", "O")])
    with cs_path(toy).open("wb") as stream:
        np.save(stream, objects, allow_pickle=True)
    return checked(toy)


def passed_through(toy: Toy) -> list[object]:
    rows = records(toy.particles, 6.0)
    order = np.random.default_rng(0).permutation(len(rows))
    write_cs(toy.folder / "J12_passthrough_particles.cs", only(rows[order], *PASSED_THROUGH))
    write_cs(cs_path(toy), only(rows, "ctf", "alignments3D"))
    return checked(toy)


def passed_through_in_part(toy: Toy) -> list[object]:
    rows = records(toy.particles, 6.0)
    write_cs(toy.folder / "J12_passthrough_particles.cs", only(rows[:100], *PASSED_THROUGH))
    write_cs(cs_path(toy), only(rows, "ctf", "alignments3D"))
    return checked(toy)


def repeated_uid(rows: Rows) -> Rows:
    rows["uid"][7] = rows["uid"][3]
    return rows


def classes(rows: Rows) -> Rows:
    return in_classes(rows, np.repeat([0, 1, 2], [70, 30, 20]), 3)


def class_chosen(toy: Toy) -> list[object]:
    return [*table(classes)(toy), "--class", 0]


def black(toy: Toy) -> list[object]:
    """The images are black, and the table says so."""
    stack = ImageStack.open(toy.stack)
    write_stack(toy.stack, -stack.read(np.arange(stack.n_images)), 6.0)
    return table(lambda rows: with_column(rows, "blob/sign", np.full(len(rows), -1.0, dtype="<f4")))(toy)


def trefoil(rows: Rows) -> Rows:
    rows["ctf/trefoil_A"][5] = 1e8
    return rows


def pickled(name: str) -> Callable[[Toy], list[object]]:
    def command(toy: Toy) -> list[object]:
        path = toy.folder / name
        path.write_bytes(pickle.dumps((np.eye(3)[None].repeat(120, 0), np.zeros((120, 2)))))
        return ["check", path, "--map", toy.map]

    return command


class Touch:
    """A pickle that makes a file when it is read as pickles are read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.system, (f"touch {self.path}",)


def hostile(toy: Toy) -> list[object]:
    poses = toy.folder / "poses.pkl"
    poses.write_bytes(pickle.dumps(Touch(toy.folder / "ran")))
    return ["convert", poses, poses, "--images", toy.stack, "-o", toy.folder / "out.star"]


LINE = "ATOM  {n:5d}  {name:<3s}{alt:1s}ALA A{res:4d}    {x:8.3f}{y:8.3f}{z:8.3f}{occ:6.2f} 10.00           {el:>2s}"
NAMES = (("N", "N"), ("CA", "C"), ("C", "C"), ("O", "O"), ("CB", "C"))


def model(toy: Toy, *, shift: float = 0.0, alternatives: bool = False, ending: str = ".pdb") -> Path:
    """A chain of alanine along the molecule's points, in the frame of the map's first voxel."""
    truth = read_truth(toy.folder / "truth.npz")
    corner = truth.grid.center * truth.grid.pixel_size + shift
    lines = []
    for res, point in enumerate(np.asarray(truth.points)[:60], start=1):
        for k, (name, element) in enumerate(NAMES):
            for alt, occ in (("A", 0.6), ("B", 0.4)) if alternatives else ((" ", 1.0),):
                x, y, z = point + corner + np.array([0.8 * k, 0.3 * (k % 2), 0.0]) + (0.5 if alt == "B" else 0.0)
                lines.append(
                    LINE.format(n=len(lines) + 1, name=name, alt=alt, res=res, x=x, y=y, z=z, occ=occ, el=element)
                )
    path = toy.folder / "model.pdb"
    path.write_text("\n".join([*lines, "END"]) + "\n")
    if ending == ".cif":
        import gemmi

        structure = gemmi.read_structure(str(path))
        path = toy.folder / "model.cif"
        structure.make_mmcif_document().write_file(str(path))
    return path


def trained_with(**options: object) -> Callable[[Toy], list[object]]:
    return lambda toy: toy.train("--model", model(toy, **options))  # type: ignore[arg-type]


def empty_model(toy: Toy) -> list[object]:
    (toy.folder / "model.pdb").write_text(
        "HETATM    1  O   HOH A   1      10.000  10.000  10.000  1.00 10.00           O\nEND\n"
    )
    return toy.train("--model", toy.folder / "model.pdb")


def unbonded_model(toy: Toy) -> list[object]:
    """One atom of every twelfth residue, so that no two are neighbours in the chain."""
    path = model(toy)
    lines = [line for line in path.read_text().splitlines() if line[12:16].split() == ["CA"]]
    path.write_text("\n".join([*lines[::12], "END"]) + "\n")
    return toy.train("--model", path)


FAULTS = [
    Fault("K-01", "a web page for a .cs file", content(lambda raw: b"<html>" + raw), 3,
          ("J12_particles.cs", "a web page", "export the particles from cryoSPARC again")),
    Fault("K-01", "a stream of cryoSPARC's tools", content(lambda raw: b"\x95CSDAT" + raw), 3,
          ("J12_particles.cs", "found a cryoSPARC CSDAT stream", "from cryosparc.dataset import Dataset")),
    Fault("K-02", "Python objects", with_objects, 3,
          ("column ctf/notes", "refused: this table holds Python objects", "export the particles")),
    Fault("K-03", "a cut .cs file", content(lambda raw: raw[: len(raw) // 2]), 3,
          ("J12_particles.cs: this table is cut", "expected 120 rows; found 5", "copy the file again")),
    Fault("K-04", "the images are in another file", table(lambda rows: only(rows, "ctf", "alignments3D")), 3,
          ("column blob/*", "this table has no blob columns", "put the passthrough file")),
    Fault("K-04", "a passthrough file beside it", passed_through, 0, GOOD),
    Fault("K-04", "the defocus is missing", table(lambda rows: without(rows, "ctf/df1_A")), 3,
          ("column ctf/df1_A", "needs this column", "put the passthrough file")),
    Fault("K-04", "images without poses", table(lambda rows: only(rows, "blob", "ctf")), 3,
          ("column alignments3D/*", "no alignments3D columns", "put the passthrough file")),
    Fault("K-05", "poses for three classes", table(classes), 3,
          ("column alignments_class_*", "class 0: 70, class 1: 30, class 2: 20 particles", "--class K")),
    Fault("K-05", "one class of three", class_chosen, 0,
          ("particles: 70 used", "50 of 120 particles excluded", "nothing wrong")),
    Fault("K-06", "uids without a match", passed_through_in_part, 3,
          ("J12_passthrough_particles.cs lacks 20 of 120 uids", "no blob columns", "the same job")),
    Fault("K-06", "a uid twice", table(repeated_uid), 3,
          ("column uid, row 3", "1 of 120 rows repeat one", "remove duplicates")),
    Fault("K-07", "poses.pkl for particles", pickled("poses.pkl"), 3,
          ("poses.pkl", "found a Python pickle", "run_data.star")),
    Fault("K-07", "a pickle that would run code", hostile, 3,
          ("poses.pkl", "more than arrays", "code in a pickle is not run")),
    Fault("K-08", "alternative conformations", trained_with(alternatives=True), 0,
          ("atomic model", "done", "warning")),
    Fault("K-08", "mmCIF", trained_with(ending=".cif"), 0, ("atomic model", "done", "warning")),
    Fault("K-08", "a model without atoms", empty_model, 3,
          ("model.pdb: no atoms to use", "1 x water", "model of a macromolecule")),
    Fault("K-09", "a model in another frame", trained_with(shift=150.0), 3,
          ("model.pdb: only", "(ChimeraX: fitmap)", "save it relative to the map [atoms.off-map]")),
    Fault("K-09", "a model without bonds", unbonded_model, 3,
          ("model.pdb: no two pseudo-atoms", "a chain of residues", "leave out --model [atoms.no-bonds]")),
    Fault("P-15", "black images that say so", black, 0, GOOD),
    Fault("P-13", "trefoil", table(trefoil), 3,
          ("column ctf/trefoil_A, row 5", "not modelled", "downsample the particles in cryoSPARC")),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.row}-{fault.given}")
def test_fault(fault: Fault, toy: Toy, command: Command) -> None:
    prove(fault, toy, command)
    assert not (toy.folder / "ran").exists()


@pytest.mark.parametrize("method", ["dynamight", "flex"])
def test_K_04_a_run_on_cryosparcs_file_is_a_run(toy: Toy, command: Command, method: str) -> None:
    passed_through(toy)
    options = {"dynamight": ("--gaussians", 40), "flex": ("--cells", 8, "--width", 16)}[method]
    outcome = command(
        method, cs_path(toy), "--map", toy.map, "--mask", toy.mask, "-o", toy.run,
        "--epochs", 1, "--batch-size", 8, "--until", "train", *options,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    written = read_star(toy.run / "particles.star")
    ours, given = read_particles(toy.run / "particles.star"), read_particles(toy.particles)
    np.testing.assert_allclose(ours.pose.shift.numpy(), given.pose.shift.numpy(), atol=1e-5)
    np.testing.assert_array_equal(ours.half, given.half)
    assert "dynaflexLatent1" in written.blocks["particles"] and "cryosparcUid" in written.blocks["particles"]
