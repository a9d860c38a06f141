"""Laws of the made-up molecule and its motions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from dynaflex.errors import UsageError
from dynaflex.simulation.molecule import ARM, BODY, LOBE, Molecule, make_molecule
from dynaflex.simulation.motions import MOTIONS, make_motion

MOLECULE = make_molecule(192.0, seed=3)
TOUCHING = make_molecule(192.0, 3, "touching")


def test_atoms_keep_their_distance() -> None:
    assert pdist(MOLECULE.points).min() >= 3.5


def test_the_reference_molecule_has_the_size_of_a_protein() -> None:
    counts = np.bincount(MOLECULE.domain)
    assert counts.tolist() == [300, 180, 120]
    assert 120.0 < pdist(MOLECULE.points).max() < 135.0
    hull = cKDTree(MOLECULE.points).query(MOLECULE.points, k=9)[0][:, -1]
    # Residues of a protein take about 135 Å³ each, so eight neighbours lie within a sphere of some 6.6 Å.
    assert 5.5 < np.median(hull) < 8.0


@pytest.mark.parametrize("width", [96.0, 192.0, 250.0])
def test_the_molecule_stays_inside_its_box_in_every_conformation(width: float) -> None:
    for name in MOTIONS:
        molecule = make_molecule(width, 1, name)
        motion = make_motion(name, molecule)
        extremes = motion.swing * np.array([[-1.0], [1.0]]) * np.ones((1, motion.n_coordinates))
        moved = motion.displace(molecule.points, molecule.domain, extremes)
        assert np.linalg.norm(moved, axis=-1).max() < 0.42 * width


def test_length_scales_with_the_box_and_atoms_with_its_volume() -> None:
    small = make_molecule(96.0, seed=3)
    assert small.arm.length == pytest.approx(MOLECULE.arm.length / 2)
    assert pdist(small.points).max() == pytest.approx(pdist(MOLECULE.points).max() / 2, rel=0.15)
    assert len(small.points) == pytest.approx(len(MOLECULE.points) / 8, abs=2)


def test_the_seed_decides_the_atoms() -> None:
    assert np.array_equal(make_molecule(192.0, seed=3).points, MOLECULE.points)
    assert not np.array_equal(make_molecule(192.0, seed=4).points, MOLECULE.points)


def test_a_hinge_turns_the_arm_rigidly_by_the_coordinate_about_a_fixed_line() -> None:
    motion = make_motion("hinge", MOLECULE)
    rotor = motion.rotors[0]
    angle = math.radians(17.0)
    moved = motion.displace(MOLECULE.points, MOLECULE.domain, np.array([angle]))
    arm = MOLECULE.domain == ARM
    assert np.array_equal(moved[~arm], MOLECULE.points[~arm])
    assert pdist(moved[arm]) == pytest.approx(pdist(MOLECULE.points[arm]))
    before, after = MOLECULE.points[arm] - rotor.point, moved[arm] - rotor.point
    assert after @ rotor.axis == pytest.approx(before @ rotor.axis)
    across = [x - np.outer(x @ rotor.axis, rotor.axis) for x in (before, after)]
    sine = np.cross(across[0], across[1]) @ rotor.axis
    cosine = (across[0] * across[1]).sum(axis=1)
    assert np.arctan2(sine, cosine) == pytest.approx(np.full(arm.sum(), angle))
    on_the_axis = rotor.point + np.outer([-5.0, 0.0, 9.0], rotor.axis)
    assert rotor.apply(on_the_axis, np.array([angle]))[0] == pytest.approx(on_the_axis)


def test_turning_there_and_back_is_the_identity() -> None:
    rotor = make_motion("hinge", MOLECULE).rotors[0]
    there = rotor.apply(MOLECULE.points, np.array([0.3]))[0]
    assert rotor.apply(there, np.array([-0.3]))[0] == pytest.approx(MOLECULE.points)


@pytest.mark.parametrize(("name", "molecule"), [("two-hinge", MOLECULE), ("touching", TOUCHING)])
def test_two_hinges_move_arm_and_lobe_independently(name: str, molecule: Molecule) -> None:
    motion, arm, lobe = make_motion(name, molecule), molecule.domain == ARM, molecule.domain == LOBE
    moved = motion.displace(molecule.points, molecule.domain, np.array([[0.4, 0.0], [0.0, 0.4], [0.4, 0.4]]))
    moves = np.abs(moved - molecule.points).max(axis=-1) > 1e-9
    for row, domains in enumerate([{ARM}, {LOBE}, {ARM, LOBE}]):
        assert set(molecule.domain[moves[row]]) == domains
    assert moved[2, arm] == pytest.approx(moved[0, arm])
    assert moved[2, lobe] == pytest.approx(moved[1, lobe])


def test_touching_arms_are_two_bodies_side_by_side() -> None:
    arm, lobe, body = (TOUCHING.points[TOUCHING.domain == domain] for domain in (ARM, LOBE, BODY))
    assert len(arm) == len(lobe) == 150
    assert pdist(TOUCHING.points).min() >= 3.5
    assert (cKDTree(arm).query(lobe)[0] < 12.0).sum() > 50
    assert (cKDTree(body).query(arm)[0] < 8.0).any() and (cKDTree(body).query(lobe)[0] < 8.0).any()
    for atoms, joint in ((arm, TOUCHING.arm), (lobe, TOUCHING.lobe)):
        assert np.linalg.norm(atoms[0] - joint.point) < 12.0
    across, along = TOUCHING.arm.axis, TOUCHING.arm.along
    assert abs(across @ along) < 1e-9
    for side, atoms in ((1.0, arm), (-1.0, lobe)):
        height = (atoms - TOUCHING.arm.point) @ along
        assert (side * (atoms - TOUCHING.arm.point) @ across > 0.0).all()
        assert height.min() > 0.0 and 50.0 < height.max() < TOUCHING.arm.length


def test_touching_arms_shear_and_do_not_collide() -> None:
    motion = make_motion("touching", TOUCHING)
    angles = motion.swing * np.linspace(-1.0, 1.0, 5)
    states = np.stack(np.meshgrid(angles, angles), axis=-1).reshape(-1, 2)
    moved = motion.displace(TOUCHING.points, TOUCHING.domain, states)
    arm, lobe = TOUCHING.domain == ARM, TOUCHING.domain == LOBE
    height = (moved - TOUCHING.arm.point) @ TOUCHING.arm.axis
    assert height == pytest.approx(np.broadcast_to(height[12], height.shape))
    for atoms in moved:
        assert cKDTree(atoms[arm]).query(atoms[lobe])[0].min() >= 2.9
        clashes = cKDTree(atoms[TOUCHING.domain == BODY]).query(atoms[arm | lobe])[0] < 3.0
        assert clashes.sum() <= 3
    apart = np.linalg.norm(moved[4] - moved[20], axis=-1)
    assert apart[arm].max() > 20.0 and apart[lobe].max() > 20.0


def test_five_arms_move_independently_and_never_meet() -> None:
    molecule = make_molecule(192.0, 3, "five")
    motion = make_motion("five", molecule)
    assert motion.n_coordinates == 5 and pdist(molecule.points).min() >= 3.5
    states = motion.swing * (np.indices((2,) * 5).reshape(5, -1).T * 2.0 - 1.0)
    moved = motion.displace(molecule.points, molecule.domain, states)
    for number in range(1, 6):
        arm = molecule.domain == number
        assert arm.sum() == 100
        here = moved[:, arm]
        for sign in (-1.0, 1.0):
            alike = here[np.sign(states[:, number - 1]) == sign]
            assert alike == pytest.approx(np.broadcast_to(alike[0], alike.shape))
        assert (
            np.linalg.norm(here[states[:, number - 1] > 0][0] - here[states[:, number - 1] < 0][0], axis=1).max() > 20
        )
    for atoms in moved:
        arms = [atoms[molecule.domain == number] for number in range(1, 6)]
        for i, arm in enumerate(arms):
            assert cKDTree(arm).query(np.concatenate(arms[:i] + arms[i + 1 :]))[0].min() > 3.0


def test_a_twist_turns_the_arm_more_the_further_from_the_body() -> None:
    motion = make_motion("twist", MOLECULE)
    rotor = motion.rotors[0]
    side = np.cross(rotor.axis, [0.0, 0.0, 1.0])
    heights = np.array([0.0, 0.25, 0.5, 1.0]) * rotor.rise
    points = rotor.point + np.outer(heights, rotor.axis) + 10.0 * side / np.linalg.norm(side)
    moved = motion.displace(points, np.full(4, ARM), np.array([0.4]))
    chord = np.linalg.norm(moved - points, axis=1)
    assert chord == pytest.approx(20.0 * np.sin(0.4 * heights / rotor.rise / 2.0))
    assert (moved - rotor.point) @ rotor.axis == pytest.approx(heights)


def test_without_motion_nothing_moves() -> None:
    motion = make_motion("none", MOLECULE)
    coordinate = motion.sample(5, np.random.default_rng(0))
    assert coordinate.shape == (5, 1) and not coordinate.any()
    moved = motion.displace(MOLECULE.points, MOLECULE.domain, coordinate)
    assert np.array_equal(moved, np.broadcast_to(MOLECULE.points, moved.shape))


@pytest.mark.parametrize("name", ["hinge", "two-hinge", "touching", "twist"])
def test_coordinate_zero_is_the_conformation_of_the_molecule(name: str) -> None:
    motion = make_motion(name, MOLECULE)
    moved = motion.displace(MOLECULE.points, MOLECULE.domain, np.zeros(motion.n_coordinates))
    assert moved == pytest.approx(MOLECULE.points)


def test_conformations_are_uniform_within_the_swing() -> None:
    motion = make_motion("two-hinge", MOLECULE)
    coordinate = motion.sample(20_000, np.random.default_rng(1))
    limit = math.radians(25.0)
    assert np.abs(coordinate).max() <= limit
    assert coordinate.std(axis=0) == pytest.approx([limit / math.sqrt(3.0)] * 2, rel=0.02)
    assert abs(np.corrcoef(coordinate.T)[0, 1]) < 0.03


def test_the_body_is_between_arm_and_lobe() -> None:
    center = [MOLECULE.points[MOLECULE.domain == domain].mean(axis=0) for domain in (BODY, ARM, LOBE)]
    assert (center[1] - center[0]) @ (center[2] - center[0]) < 0.0


def test_an_unknown_motion_and_a_tiny_box_are_refused() -> None:
    with pytest.raises(UsageError, match="wobble") as unknown:
        make_motion("wobble", MOLECULE)
    assert unknown.value.identifier == "simulate.unknown-motion"
    with pytest.raises(UsageError, match="40 Å") as small:
        make_molecule(40.0, seed=0)
    assert small.value.identifier == "simulate.box-too-small"
