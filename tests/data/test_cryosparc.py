from __future__ import annotations

import pickle  # noqa: TID251  (to see that it is never read)
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cryosparc_files import in_classes, only, records, with_column, without, write_cs
from dynaflex.data.particles import Particles, read_particles
from dynaflex.errors import InputError
from dynaflex.imaging.ctf import CtfParams

Blocks = dict[str, dict[str, list[str]]]
Save = Callable[[Blocks], Path]
ALIGN_PIXEL = 1.25


@pytest.fixture
def star(blocks: Blocks, save: Save) -> Path:
    return save(blocks)


@pytest.fixture
def rows(star: Path) -> np.ndarray:
    return records(star, ALIGN_PIXEL)


@pytest.fixture
def job(star: Path) -> Path:
    """A job's folder in the project."""
    folder = star.parents[2] / "J12"
    folder.mkdir()
    return folder


def read(job: Path, rows: np.ndarray, **options: object) -> Particles:
    return read_particles(write_cs(job / "J12_particles.cs", rows), **options)  # type: ignore[arg-type]


def refusal(job: Path, rows: np.ndarray) -> InputError:
    with pytest.raises(InputError) as caught:
        read(job, rows)
    assert "allow_pickle" not in str(caught.value)
    return caught.value


def assert_same(ours: Particles, other: Particles) -> None:
    torch.testing.assert_close(ours.pose.rotation, other.pose.rotation, rtol=0, atol=2e-6)
    torch.testing.assert_close(ours.pose.shift, other.pose.shift, rtol=2e-7, atol=1e-6)
    for name in CtfParams.__dataclass_fields__:
        torch.testing.assert_close(getattr(ours.ctf, name), getattr(other.ctf, name), rtol=3e-7, atol=1e-6)
    np.testing.assert_array_equal(ours.half, other.half)
    assert ours.grid == other.grid
    every = np.arange(len(ours))
    assert torch.equal(ours.images(every), other.images(every))


def test_both_programs_files_mean_the_same(star: Path, rows: np.ndarray, job: Path) -> None:
    # Shifts are in pixels of the alignment's pixel size, which differs from that of the images.
    ours, other = read(job, rows), read_particles(star)
    assert_same(ours, other)
    np.testing.assert_array_equal(ours.group, [1, 2] * 6)
    table = ours.source.blocks["particles"]
    assert table["cryosparcUid"].tolist() == [str(uid) for uid in rows["uid"]]
    np.testing.assert_allclose(table["rlnCoordinateX"].astype(float), np.linspace(400, 3600, 12), rtol=1e-6)
    np.testing.assert_allclose(table["rlnCoordinateY"].astype(float), np.linspace(1800, 200, 12), rtol=1e-6)


def test_columns_are_joined_by_uid_whatever_their_order(star: Path, rows: np.ndarray, job: Path) -> None:
    shuffled = np.random.default_rng(4).permutation(np.concatenate([rows, rows[:2]]))
    shuffled = shuffled[np.unique(shuffled["uid"], return_index=True)[1]]
    write_cs(job / "J12_passthrough_particles.cs", only(shuffled, "blob", "location"))
    assert_same(read(job, only(rows, "ctf", "alignments3D")), read_particles(star))


def test_a_column_of_the_job_itself_wins(star: Path, rows: np.ndarray, job: Path) -> None:
    stale = rows.copy()
    stale["alignments3D/pose"] = 0.0
    write_cs(job / "J12_passthrough_particles.cs", stale)
    assert_same(read(job, only(rows, "ctf", "alignments3D")), read_particles(star))


def test_alignments_without_a_rotation_are_no_poses(rows: np.ndarray, job: Path) -> None:
    error = refusal(job, without(rows, "alignments3D/pose"))
    assert (error.identifier, error.field) == ("cs.no-poses", "alignments3D/pose")
    assert "3D refinement" in str(error.fix)


def test_the_sign_of_an_image_is_obeyed(rows: np.ndarray, job: Path, images: np.ndarray) -> None:
    rows["blob/sign"][3:7] = -1
    signs = np.where((np.arange(12) >= 3) & (np.arange(12) < 7), -1, 1)[:, None, None]
    particles = read(job, rows)
    np.testing.assert_array_equal(particles.images(np.arange(12)).numpy(), signs * images)
    np.testing.assert_array_equal(particles.take(np.array([4, 0])).images(np.array([0])).numpy(), -images[4:5])
    rows["blob/sign"][5] = 0
    error = refusal(job, rows)
    assert (error.identifier, error.field, error.row) == ("cs.sign", "blob/sign", 5)


def test_optics_in_cryosparcs_units(rows: np.ndarray, job: Path) -> None:
    rows["ctf/phase_shift_rad"] = 1.5
    rows["ctf/bfactor"] = 40.0
    rows["ctf/scale"] = 0.5
    rows["alignments3D/alpha"] = 1.2
    # A tilt of 0.5 mrad moves a wave of 2.7 mm by 13500 Å.
    rows["ctf/tilt_A"][rows["ctf/exp_group_id"] == 1] = (2.7e7 * 0.5e-3, 0.0)
    rows["ctf/anisomag"][:, 0] = 0.01
    particles = read(job, rows)
    np.testing.assert_allclose(particles.ctf.phase_shift.numpy(), 1.5, rtol=1e-6)
    assert particles.ctf.b_factor.tolist() == [40.0] * 12
    np.testing.assert_allclose(particles.ctf.scale.numpy(), 0.6, rtol=1e-6)
    np.testing.assert_allclose(particles.ctf.beam_tilt.numpy(), [[0.5, 0], [0, 0]] * 6, rtol=1e-6)
    assert any("ctf/anisomag" in said and "1 % is not taken out" in said for said in particles.warnings)


@pytest.mark.parametrize(("field", "small", "large"), [("ctf/trefoil_A", 20.0, 1e4)])
def test_aberrations_that_matter_are_refused(
    rows: np.ndarray, job: Path, field: str, small: float, large: float
) -> None:
    rows[field][7, 1] = small
    assert len(read(job, rows)) == 12
    rows[field][7, 1] = large
    error = refusal(job, rows)
    assert (error.identifier, error.field, error.row) == ("cs.aberration", field, 7)


def test_one_of_several_classes(star: Path, rows: np.ndarray, job: Path) -> None:
    likeliest = np.arange(12) % 3
    classes = in_classes(rows, likeliest, 3)
    error = refusal(job, classes)
    assert error.identifier == "cs.classes"
    assert "class 0: 4, class 1: 4, class 2: 4" in str(error) and "--class" in str(error)
    whole = read_particles(star)
    for k in range(3):
        ours = read(job, classes, class_number=k)
        assert len(ours) + len(ours.excluded) == 12
        assert_same(ours, whole.take(likeliest == k))
    with pytest.raises(InputError, match=r"from 0 to 2"):
        read(job, classes, class_number=3)


def test_one_of_several_classes_in_one_column(star: Path, rows: np.ndarray, job: Path) -> None:
    likeliest = np.arange(12) % 2
    apart = in_classes(rows, likeliest, 2)
    several = without(apart, *(name for name in apart.dtype.names if name.startswith("alignments_class_")))
    for name in ("pose", "class_posterior", "shift", "psize_A", "split"):
        both = np.stack([apart[f"alignments_class_{k}/{name}"] for k in range(2)], axis=1)
        several = with_column(several, f"alignments3D_multi/{name}", both)
    assert refusal(job, several).identifier == "cs.classes"
    assert_same(read(job, several, class_number=1), read_particles(star).take(likeliest == 1))


def test_one_alignment_beside_classes_is_the_one(star: Path, rows: np.ndarray, job: Path) -> None:
    both = rows
    for k in range(2):
        both = with_column(both, f"alignments_class_{k}/pose", -rows["alignments3D/pose"])
        both = with_column(both, f"alignments_class_{k}/class_posterior", np.full(12, 0.5, dtype="<f4"))
    assert_same(read(job, both), read_particles(star))


def test_a_table_without_splits_has_halves_drawn_per_micrograph(rows: np.ndarray, job: Path) -> None:
    particles = read(job, without(rows, "alignments3D/split"))
    micrograph = np.array([path.decode() for path in rows["location/micrograph_path"]])
    assert all(len(set(particles.half[micrograph == name])) == 1 for name in set(micrograph))


def test_poses_that_are_no_numbers_are_excluded(rows: np.ndarray, job: Path) -> None:
    rows["alignments3D/pose"][4, 1] = np.nan
    particles = read(job, rows)
    assert [exclusion.row for exclusion in particles.excluded] == [4]
    rows["alignments3D/pose"][4] = (0.0, 90.0, 0.0)
    assert refusal(job, rows).identifier == "cs.pose"


@pytest.mark.parametrize(
    ("spoil", "identifier"),
    [
        (lambda rows: only(rows, "ctf", "alignments3D"), "cs.missing-group"),
        (lambda rows: only(rows, "blob", "ctf"), "cs.missing-group"),
        (lambda rows: without(rows, "ctf/df1_A"), "cs.missing-column"),
        (lambda rows: without(rows, "blob/path"), "cs.missing-column"),
        (lambda rows: with_column(rows, "alignments3D/pose", np.zeros((12, 2), dtype="<f4")), "cs.column-shape"),
        (lambda rows: with_column(rows, "ctf/cs_mm", np.full(12, b"2.7")), "cs.column-shape"),
        (lambda rows: with_column(rows, "uid", np.zeros(12, dtype="<u8")), "cs.repeated-uid"),
        (lambda rows: rows[:0], "cs.no-particles"),
    ],
)
def test_what_is_missing_or_wrong_is_named(
    rows: np.ndarray, job: Path, spoil: Callable[[np.ndarray], np.ndarray], identifier: str
) -> None:
    assert refusal(job, spoil(rows)).identifier == identifier


def test_a_passthrough_file_of_other_particles_is_not_joined(rows: np.ndarray, job: Path) -> None:
    write_cs(job / "J12_passthrough_particles.cs", only(rows[:9], "blob"))
    error = refusal(job, only(rows, "ctf", "alignments3D"))
    assert error.identifier == "cs.missing-group"
    assert "lacks 3 of 12 uids" in str(error)


def test_nothing_in_a_table_is_ever_run(rows: np.ndarray, job: Path, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return (Path.touch, (tmp_path / "ran",))

    objects = np.zeros(12, dtype=[*rows.dtype.descr, ("ctf/extra", "O")])
    objects["ctf/extra"] = Payload()
    path = job / "objects.cs"
    with path.open("wb") as stream:
        np.save(stream, objects, allow_pickle=True)
    for content in (path.read_bytes(), pickle.dumps(Payload())):
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            read_particles(path)
        assert caught.value.identifier in ("cs.objects", "cs.not-cs")
        assert "allow_pickle" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("where", [0.0, 0.001, 0.01, 0.3, 0.9, 0.9999])
def test_a_cut_table_is_refused(rows: np.ndarray, job: Path, where: float) -> None:
    path = write_cs(job / "cut.cs", rows)
    content = path.read_bytes()
    path.write_bytes(content[: int(where * len(content))])
    with pytest.raises(InputError) as caught:
        read_particles(path)
    assert caught.value.identifier in ("cs.truncated", "cs.header", "cs.not-cs")


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': [('uid', '<u8')], 'fortran_order': False, 'shape': (99999999999999,), }",
        b"{'descr': [('uid', '<u8')], 'fortran_order': False, 'shape': (-1,), }",
        b"{'descr': [('uid', '<u8', (1000000, 1000000, 1000000))], 'fortran_order': False, 'shape': (2,), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }",
        b"(" * 30000,
        b"__import__('os').system('true')",
    ],
)
def test_a_forged_header_is_refused_before_anything_is_allocated(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "forged.cs"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(InputError) as caught:
        read_particles(path)
    assert caught.value.identifier.startswith("cs.")


def test_the_ending_need_not_be_cs(star: Path, rows: np.ndarray, job: Path) -> None:
    path = write_cs(job / "particles.cs", rows)
    shutil.copy(path, job / "particles.npy")
    assert_same(read_particles(job / "particles.npy"), read_particles(star))
