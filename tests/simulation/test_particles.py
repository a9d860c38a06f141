"""Laws of the simulated images: what is written is what was meant."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile
import torch
from scipy.spatial.transform import Rotation

from dynaflex.errors import DynaflexError, EnvironmentFault, UsageError
from dynaflex.grid import Grid
from dynaflex.io.mrc import read_map
from dynaflex.simulation import microscope
from dynaflex.simulation.fourier_sum import image_coefficients, volume_coefficients
from dynaflex.simulation.molecule import ARM, BODY, LOBE, make_molecule
from dynaflex.simulation.motions import make_motion
from dynaflex.simulation.particles import simulate
from dynaflex.simulation.truth import (
    Truth,
    density_map,
    domain_mask,
    mean_volume,
    read_truth,
    true_volume,
    truth_displacement,
)

BOX, PIXEL = 48, 4.0


def no_ctf(ctf: object, grid: Grid) -> torch.Tensor:
    """In place of the CTF: images of the bare projections."""
    return torch.ones(1, grid.box, grid.box // 2 + 1)


def identity_euler(n: int, random: np.random.Generator) -> np.ndarray:
    return np.zeros((n, 3))


def images_of(folder: Path) -> np.ndarray:
    with mrcfile.open(folder / "particles.mrcs") as stack:
        return stack.data.astype(np.float64)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("noisy") / "sim"
    return folder, simulate(folder, 61, BOX, PIXEL, 0.1, "hinge", 5)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("clean")
    return folder, simulate(folder, 61, BOX, PIXEL, math.inf, "hinge", 5)


def test_coefficients_are_the_sums_of_their_definition() -> None:
    grid = Grid(16, 5.0)
    atoms = torch.from_numpy(np.random.default_rng(0).normal(0.0, 15.0, (7, 3)))
    weights = torch.linspace(0.5, 2.0, 7, dtype=torch.float64)
    frequency = np.fft.fftfreq(16, 5.0)
    volume = volume_coefficients(atoms, weights, grid).numpy()
    images = image_coefficients(atoms[None, :, :2], weights, grid).numpy()[0]
    for z, y, x in [(0, 0, 0), (1, 2, 3), (15, 9, 7), (4, 15, 0), (11, 3, 5)]:
        k = np.array([frequency[x], frequency[y], frequency[z]])
        exact = (weights.numpy() * np.exp(-2j * np.pi * (atoms.numpy() @ k))).sum()
        assert volume[z, y, x] == pytest.approx(exact, abs=1e-5)
        exact = (weights.numpy() * np.exp(-2j * np.pi * (atoms.numpy()[:, :2] @ k[:2]))).sum()
        assert images[y, x] == pytest.approx(exact, abs=1e-5)
    assert not volume[8].any() and not volume[:, 8].any() and not volume[:, :, 8].any()
    assert not images[8].any() and not images[:, 8].any()


def test_an_image_in_reference_orientation_is_the_projection_along_z(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microscope, "transfer_function", no_ctf)
    monkeypatch.setattr(microscope, "random_euler", identity_euler)
    monkeypatch.setattr(microscope, "OFFSET_SD", 0.0)
    truth = simulate(tmp_path, 3, BOX, PIXEL, math.inf, "two-hinge", 2)
    images = images_of(tmp_path)
    for image, coordinate in zip(images, truth.coordinate, strict=True):
        projection = true_volume(truth, coordinate, truth.grid).sum(dim=0).numpy()
        assert image == pytest.approx(projection, abs=1e-5 * float(projection.max()))


def test_an_image_is_the_projection_of_the_turned_molecule_in_relions_convention(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microscope, "transfer_function", no_ctf)
    truth = simulate(tmp_path, 2, BOX, PIXEL, math.inf, "hinge", 9)
    table = starfile.read(tmp_path / "particles.star")["particles"]
    images = images_of(tmp_path)
    for i in range(2):
        angles = [table.at[i, f"rlnAngle{name}"] for name in ("Rot", "Tilt", "Psi")]
        relion = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().T
        atoms = truth.motion.displace(truth.points, truth.domain, truth.coordinate[i]) @ relion.T
        atoms[:, :2] -= [table.at[i, "rlnOriginXAngst"], table.at[i, "rlnOriginYAngst"]]
        turned = replace(truth, points=atoms, motion=make_motion("none", make_molecule(96.0, 0)))
        projection = true_volume(turned, np.zeros(1), truth.grid).sum(dim=0).numpy()
        assert images[i] == pytest.approx(projection, abs=1e-5 * float(projection.max()))


def test_the_centre_of_mass_lies_at_minus_the_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microscope, "transfer_function", no_ctf)
    truth = simulate(tmp_path, 5, BOX, PIXEL, math.inf, "none", 4)
    table = starfile.read(tmp_path / "particles.star")["particles"]
    axis = truth.grid.axis(dtype=torch.float64).numpy()
    for i, image in enumerate(images_of(tmp_path)):
        relion = Rotation.from_euler("ZYZ", truth.euler[i]).as_matrix().T
        expected = (truth.points @ relion.T).mean(axis=0)[:2]
        expected = expected - table.loc[i, ["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy(dtype=float)
        found = np.array([(image.sum(axis=0) * axis).sum(), (image.sum(axis=1) * axis).sum()]) / image.sum()
        assert found == pytest.approx(expected, abs=0.1)


def test_the_measured_snr_is_the_one_asked_for(noisy: tuple[Path, Truth], clean: tuple[Path, Truth]) -> None:
    signal = noisy[1].amplitude * images_of(clean[0])
    noise = images_of(noisy[0]) - signal
    assert signal.var(axis=(1, 2)).mean() / noise.var() == pytest.approx(0.1, rel=0.02)
    assert noise.var() == pytest.approx(1.0, rel=0.02)
    assert abs((noise * signal).mean()) < 4.0 * signal.std() / math.sqrt(noise.size)
    spectrum = (np.abs(np.fft.rfft2(noise)) ** 2).mean(axis=0) / BOX**2
    low, high = spectrum[:6, :6].mean(), spectrum[18:30, 18:].mean()
    assert low == pytest.approx(high, rel=0.1)


def test_equal_arguments_give_equal_bytes(noisy: tuple[Path, Truth], tmp_path: Path) -> None:
    simulate(tmp_path / "again", 61, BOX, PIXEL, 0.1, "hinge", 5)
    simulate(tmp_path / "other", 61, BOX, PIXEL, 0.1, "hinge", 6)

    def digests(folder: Path) -> dict[str, str]:
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}

    first, again, other = (digests(folder) for folder in (noisy[0], tmp_path / "again", tmp_path / "other"))
    assert set(first) == {"particles.star", "particles.mrcs", "consensus.mrc", "mask.mrc", "segments.mrc", "truth.npz"}
    assert again == first
    assert all(other[name] != first[name] for name in first)


def test_snr_zero_leaves_no_trace_of_the_molecule(clean: tuple[Path, Truth], tmp_path: Path) -> None:
    simulate(tmp_path, 61, BOX, PIXEL, 0.0, "hinge", 5)
    noise, signal = images_of(tmp_path), images_of(clean[0])
    assert noise.std() == pytest.approx(1.0, rel=0.01)
    assert abs(np.corrcoef(noise.ravel(), signal.ravel())[0, 1]) < 4.0 / math.sqrt(noise.size)
    with mrcfile.open(tmp_path / "consensus.mrc") as map_file:
        assert map_file.data.max() > 0.0


def test_the_table_is_a_refinement_in_relions_dialect(noisy: tuple[Path, Truth]) -> None:
    blocks = starfile.read(noisy[0] / "particles.star", always_dict=True)
    optics, table = blocks["optics"], blocks["particles"]
    assert len(table) == 61 and int(optics.at[0, "rlnImageSize"]) == BOX
    assert table["rlnImageName"].tolist() == [f"{i:06d}@particles.mrcs" for i in range(1, 62)]
    halves = table["rlnRandomSubset"].value_counts()
    assert set(halves.index) == {1, 2} and abs(halves[1] - halves[2]) <= 1
    for name in ("rlnDefocusU", "rlnDefocusV"):
        assert table[name].between(8000.0, 25000.0).all()
    assert (table["rlnDefocusU"] != table["rlnDefocusV"]).all()
    assert table["rlnMicrographName"].nunique() == 4


def test_directions_are_uniform_and_offsets_as_wide_as_stated() -> None:
    random = np.random.default_rng(0)
    euler = np.deg2rad(microscope.random_euler(20_000, random))
    matrices = Rotation.from_euler("ZYZ", euler).as_matrix()
    # For uniform rotations every matrix element has mean 0 and variance 1/3.
    assert np.abs(matrices.mean(axis=0)).max() < 4.0 * math.sqrt(1.0 / 3.0 / 20_000)
    assert matrices.var(axis=0) == pytest.approx(np.full((3, 3), 1.0 / 3.0), abs=0.012)


def test_the_truth_is_read_back_as_it_was_written(noisy: tuple[Path, Truth]) -> None:
    folder, truth = noisy
    again = read_truth(folder / "truth.npz")
    table = starfile.read(folder / "particles.star")["particles"]
    assert again.coordinate == pytest.approx(truth.coordinate)
    assert np.rad2deg(again.euler[:, 1]) == pytest.approx(table["rlnAngleTilt"].to_numpy())
    assert again.shift[:, 0] == pytest.approx(-table["rlnOriginXAngst"].to_numpy())
    assert (again.grid, again.snr, again.seed, again.amplitude) == (truth.grid, 0.1, 5, truth.amplitude)
    index = np.arange(5)
    assert truth_displacement(again, index, truth.points) == pytest.approx(
        truth_displacement(truth, index, truth.points), abs=1e-9
    )


def test_displacement_at_the_atoms_is_the_motion_of_the_atoms(noisy: tuple[Path, Truth]) -> None:
    truth = noisy[1]
    index = np.array([3, 0, 60])
    moved = truth.motion.displace(truth.points, truth.domain, truth.coordinate[index])
    assert truth_displacement(truth, index, truth.points) == pytest.approx(moved - truth.points)
    beside = truth.points[truth.domain == LOBE] + 0.5
    assert not truth_displacement(truth, index, beside).any()


def test_the_consensus_is_the_mean_of_the_true_conformations(noisy: tuple[Path, Truth]) -> None:
    truth = noisy[1]
    angles = np.linspace(-truth.motion.swing, truth.motion.swing, 41)
    trapezoid = np.where((angles == angles[0]) | (angles == angles[-1]), 0.5, 1.0) / 40.0
    mean = sum(w * true_volume(truth, np.array([a]), truth.grid) for w, a in zip(trapezoid, angles, strict=True))
    difference = (mean_volume(truth, truth.grid) - mean).norm() / mean.norm()
    assert difference < 0.01
    with mrcfile.open(noisy[0] / "consensus.mrc") as map_file:
        assert map_file.voxel_size.x == pytest.approx(PIXEL)
        assert map_file.data.sum() == pytest.approx(truth.amplitude * len(truth.points), rel=1e-3)


def test_masks_hold_their_domain_and_end_at_their_edge(noisy: tuple[Path, Truth]) -> None:
    truth = noisy[1]
    state = np.array([0.2])
    atoms = truth.motion.displace(truth.points, truth.domain, state)
    some = np.random.default_rng(0).choice(BOX**3, 6000, replace=False)
    voxels = truth.grid.points(dtype=torch.float64).numpy()[some]
    for domain in (BODY, ARM, None):
        mask = domain_mask(truth, state, truth.grid, domain, radius=8.0, soft_edge=6.0).numpy().ravel()[some]
        chosen = atoms if domain is None else atoms[truth.domain == domain]
        from_atoms = np.min([np.linalg.norm(voxels - atom, axis=1) for atom in chosen], axis=0)
        assert (mask[from_atoms <= 8.0] == 1.0).all() and (mask[from_atoms >= 14.0] == 0.0).all()
        middle = mask[np.abs(from_atoms - 11.0) < 0.1]
        assert middle == pytest.approx(np.full(len(middle), 0.5), abs=0.05)


def test_the_mask_of_all_conformations_holds_each(noisy: tuple[Path, Truth]) -> None:
    truth = noisy[1]
    every = domain_mask(truth, None, truth.grid)
    for angle in (-0.43, 0.0, 0.31):
        one = domain_mask(truth, np.array([angle]), truth.grid, radius=7.5)
        assert bool((every >= one - 1e-6).all())


def test_segments_are_the_domains_of_the_nearest_atoms_inside_the_mask(noisy: tuple[Path, Truth]) -> None:
    folder, truth = noisy
    labels, mask = (read_map(folder / name).data.ravel() for name in ("segments.mrc", "mask.mrc"))
    assert set(np.unique(labels)) == {-1.0, BODY, ARM, LOBE}
    assert np.array_equal(labels >= 0, mask > 0)
    some = np.random.default_rng(0).choice(np.flatnonzero(labels >= 0), 500, replace=False)
    voxels = truth.grid.points(dtype=torch.float64).numpy()[some]
    distance = np.linalg.norm(voxels[:, None] - truth.points, axis=-1)
    assert np.array_equal(labels[some], truth.domain[distance.argmin(axis=1)])


def test_heavier_atoms_make_brighter_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microscope, "transfer_function", no_ctf)
    monkeypatch.setattr(microscope, "random_euler", identity_euler)
    monkeypatch.setattr(microscope, "OFFSET_SD", 0.0)
    grid, random = Grid(BOX, PIXEL), np.random.default_rng(0)
    points, weights = random.normal(0.0, 20.0, (3, 9, 3)), random.uniform(1.0, 5.0, 9)
    atoms = microscope.Atoms(lambda rows: points[rows], weights, 2.5)
    acquisition = microscope.draw_acquisition(3, random)
    assert microscope.write_particles(tmp_path, grid, atoms, acquisition, math.inf, random) == 1.0
    for image, where in zip(images_of(tmp_path), points, strict=True):
        projection = density_map(where, weights, 2.5, grid).sum(dim=0).numpy()
        assert image == pytest.approx(projection, abs=1e-5 * float(projection.max()))
        assert image.sum() == pytest.approx(weights.sum(), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"particles": 1}, "--particles"),
        ({"box": 47}, "--box"),
        ({"pixel_size": 0.0}, "--pixel-size"),
        ({"snr": -1.0}, "--snr"),
    ],
)
def test_impossible_options_are_named(tmp_path: Path, change: dict[str, float], field: str) -> None:
    arguments = {"particles": 4, "box": BOX, "pixel_size": PIXEL, "snr": 1.0, "motion": "none", "seed": 0} | change
    with pytest.raises(UsageError, match=f"option {field}") as caught:
        simulate(tmp_path, **arguments)
    assert caught.value.identifier == "simulate.bad-option"


def test_a_folder_that_cannot_be_made_is_an_environment_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnvironmentFault) as caught:
        simulate(tmp_path / "file" / "sim", 4, BOX, PIXEL, 1.0, "none", 0)
    assert caught.value.identifier == "simulate.not-writable"


def test_a_file_that_is_no_truth_is_refused(tmp_path: Path) -> None:
    (tmp_path / "truth.npz").write_bytes(b"not an archive")
    for name, identifier in (("truth.npz", "truth.not-readable"), ("absent.npz", "truth.not-found")):
        with pytest.raises(DynaflexError) as caught:
            read_truth(tmp_path / name)
        assert caught.value.identifier == identifier
