"""Laws of conversion: the same particles in another program's words are the same particles, and nothing is run."""

from __future__ import annotations

import os
import pickle  # noqa: TID251  (to write what cryoDRGN writes, and worse)
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import starfile
import torch
from scipy.spatial.transform import Rotation

from cryosparc_files import in_classes, records, write_cs
from dynaflex.data.particles import Particles, read_particles

Command = Callable[..., Any]
BOX, PIXEL = 32, 6.0


def as_cryodrgn(star: Path, folder: Path, downsampled: int = 1) -> tuple[Path, Path]:
    """What cryodrgn parse_pose_star and parse_ctf_star write: fractions of the box, and nine columns."""
    blocks = starfile.read(star, always_dict=True)
    table, optics = blocks["particles"], blocks["optics"].iloc[0]
    angles = table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy(dtype=float)
    rotation = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().transpose(0, 2, 1)
    origin = table[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy(dtype=float)
    ctf = np.empty((len(table), 9), dtype=np.float32)
    ctf[:, 0], ctf[:, 1] = BOX * downsampled, PIXEL / downsampled
    ctf[:, 2:5] = table[["rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"]]
    ctf[:, 5:8] = optics[["rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"]].to_numpy(dtype=float)
    ctf[:, 8] = 0.0
    poses = (rotation.astype(np.float32), (origin / (BOX * PIXEL)).astype(np.float32))
    (folder / "poses.pkl").write_bytes(pickle.dumps(poses))
    (folder / "ctf.pkl").write_bytes(pickle.dumps(ctf))
    return folder / "poses.pkl", folder / "ctf.pkl"


def assert_same(ours: Particles, other: Particles, tolerance: float) -> None:
    torch.testing.assert_close(ours.pose.rotation, other.pose.rotation, rtol=0, atol=tolerance)
    torch.testing.assert_close(ours.pose.shift, other.pose.shift, rtol=0, atol=20 * tolerance)
    for name, value in vars(other.ctf).items():
        torch.testing.assert_close(getattr(ours.ctf, name), value, rtol=2e-7, atol=1e-6)
    assert ours.grid == other.grid
    every = np.arange(len(ours))
    assert torch.equal(ours.images(every), other.images(every))


@pytest.mark.parametrize("downsampled", [1, 4])
def test_cryodrgns_particles_are_relions(few: Path, tmp_path: Path, command: Command, downsampled: int) -> None:
    poses, ctf = as_cryodrgn(few / "particles.star", tmp_path, downsampled)
    outcome = command("convert", poses, ctf, "--images", few / "particles.mrcs", "-o", tmp_path / "out.star")
    assert outcome.code == 0, outcome.err
    assert_same(read_particles(tmp_path / "out.star"), read_particles(few / "particles.star"), 1e-6)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        (5, 300000.0, "5 (voltage)"),
        (7, 10.0, "7 (amplitude contrast)"),
        (1, 0.0, "1 (pixel size)"),
        (6, 2700.0, "6 (Cs)"),
    ],
)
def test_mistakes_in_cryodrgns_parameters_are_told_in_its_words(
    few: Path, tmp_path: Path, command: Command, column: int, value: float, words: str
) -> None:
    poses, path = as_cryodrgn(few / "particles.star", tmp_path)
    ctf = pickle.loads(path.read_bytes())
    ctf[7:, column] = value
    path.write_bytes(pickle.dumps(ctf))
    outcome = command("convert", poses, path, "--images", few / "particles.mrcs", "-o", tmp_path / "out.star")
    line = outcome.error_line()
    assert outcome.code == 3 and not (tmp_path / "out.star").exists()
    assert f"{path}, column {words}, row 7" in line and "cryodrgn parse_ctf_star" in line and "rln" not in line


@pytest.mark.parametrize("ending", ["cs", "csl", "npy"])
def test_a_stream_of_cryosparc_is_told_what_converts_it(tmp_path: Path, command: Command, ending: str) -> None:
    path = tmp_path / f"particles.{ending}"
    path.write_bytes(b"\x95CSDAT" + bytes(200))
    outcome = command("check", path)
    assert outcome.code == 3 and "[cs.stream]" in outcome.out
    advice = outcome.out.split("cryosparc-tools: ")[1]
    assert advice.startswith(f"from cryosparc.dataset import Dataset; Dataset.load('{path}').save('")
    assert "particles_numpy.cs', format=1)" in advice


def test_cryosparcs_particles_are_relions(few: Path, tmp_path: Path, command: Command) -> None:
    rows = in_classes(records(few / "particles.star", 2.0), np.arange(120) % 2, 2)
    cs = write_cs(tmp_path / "classes.cs", rows)
    (tmp_path / "particles.mrcs").symlink_to(few / "particles.mrcs")
    outcome = command("convert", cs, "--class", 1, "-o", tmp_path / "out.star")
    assert outcome.code == 0, outcome.err
    odd = np.arange(120) % 2 == 1
    ours = read_particles(tmp_path / "out.star", class_number=2)
    assert_same(ours, read_particles(few / "particles.star").take(odd), 1e-6)


class Payload:
    """What a hostile pickle would do."""

    def __init__(self, action: Callable[..., object], *arguments: object) -> None:
        self.action, self.arguments = action, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.action, self.arguments


def nested(depth: int) -> bytes:
    return b"(" * depth + b"t" * depth + b"."


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda where: pickle.dumps(Payload(os.system, f"touch {where}")), "more than arrays"),
        (lambda where: pickle.dumps([np.zeros(3), Payload(Path.touch, where)]), "more than arrays"),
        (lambda where: pickle.dumps({"a": 1}), "something else than arrays"),
        (lambda where: pickle.dumps((np.eye(3), "text")), "something else than arrays"),
        (lambda where: pickle.dumps(np.array([1, "x", None], dtype=object)), "something else than arrays"),
        (lambda where: pickle.dumps(np.zeros((7, 3, 3))), "the images in --images [convert.shape]"),
        (lambda where: pickle.dumps(np.zeros((120, 9)))[:-300], "not a whole pickle"),
        (lambda where: b"", "not a whole pickle"),
        (lambda where: b"version https://git-lfs.github.com/spec/v1\n", "not a whole pickle"),
        (lambda where: b"\x80\x04\x95" + (2**40).to_bytes(8, "little"), "not a whole pickle"),
        (lambda where: nested(200_000), ""),
    ],
)
def test_a_pickle_of_anything_else_is_refused(
    few: Path, tmp_path: Path, command: Command, content: Callable[[Path], bytes], words: str, which: int
) -> None:
    files = as_cryodrgn(few / "particles.star", tmp_path)
    files[which].write_bytes(content(tmp_path / "ran"))
    outcome = command("convert", *files, "--images", few / "particles.mrcs", "-o", tmp_path / "out.star")
    assert outcome.code == 3, outcome.err
    line = outcome.error_line()
    assert str(files[which]) in line and words in line
    assert not (tmp_path / "out.star").exists() and not (tmp_path / "ran").exists()


def test_matrices_that_are_no_rotations_are_refused(few: Path, tmp_path: Path, command: Command) -> None:
    poses, ctf = as_cryodrgn(few / "particles.star", tmp_path)
    rotation, translation = pickle.loads(poses.read_bytes())
    rotation[4, 0] *= -1.0
    poses.write_bytes(pickle.dumps((rotation, translation)))
    outcome = command("convert", poses, ctf, "--images", few / "particles.mrcs", "-o", tmp_path / "out.star")
    assert outcome.code == 3
    assert "row 4" in outcome.err and "determinant -1" in outcome.err
    assert outcome.error_line().endswith("[convert.rotation]")


def test_what_is_not_clear_is_asked_for(tmp_path: Path, command: Command) -> None:
    outcome = command("convert", tmp_path / "a.pkl", tmp_path / "b.pkl", "-o", tmp_path / "out.star")
    assert outcome.code == 2
    assert "--images" in outcome.error_line() and "[convert.arguments]" in outcome.error_line()
