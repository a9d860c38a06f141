"""Planes of latent space, columns, and selections that lose nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dynaflex.errors import DamagedCheckpointError, InputError, UsageError
from dynaflex.io.star import read_star
from dynaflex.run.directory import Run
from dynaflex.viewer.answers.wire import pack, quantised, unpack
from dynaflex.viewer.particles.planes import Planes
from dynaflex.viewer.particles.selections import Selections
from dynaflex.viewer.particles.table import ParticleTable
from dynaflex.viewer.questions import choice
from viewer.conftest import PARTICLES, make_hollow, store_motion


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_hollow(tmp_path / "run")


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    "names",
    [("component1", "component2"), ("latent1", "latent3"), ("component3", "latent2"), ("component2", "component2")],
)
def test_latents_at_a_place_lie_there(run: Path, names: tuple[str, str], shared: bool) -> None:
    planes = Planes(ParticleTable(Run(run), shared), None)
    for half in (1, 2):
        found = planes.at(half, names, (0.4, 0.4))
        np.testing.assert_allclose(planes.places(half, names, found.latents[None]), [[0.4, 0.4]], atol=1e-5)


def test_a_place_on_a_lonely_particle_is_that_particle(run: Path) -> None:
    with np.load(run / "latents.npz") as stored:
        arrays = dict(stored)
    arrays["mean"][arrays["half"] == 1] = arrays["mean"][0]
    np.savez(run / "latents.npz", **arrays)
    point = (float(arrays["mean"][0, 0]), float(arrays["mean"][0, 1]))
    found = Planes(ParticleTable(Run(run), False), None).at(1, ("latent1", "latent2"), point)
    np.testing.assert_allclose(found.latents, arrays["mean"][0], atol=1e-6)


def test_a_place_far_from_all_particles_has_none_near(run: Path) -> None:
    particles = ParticleTable(Run(run), False)
    planes, names = Planes(particles, None), ("component1", "component2")
    for half in (1, 2):
        own = particles.mean[particles.half == half]
        extreme = float(np.abs(particles.values("component1")[particles.half == half]).max())
        far = planes.at(half, names, (5.0 * extreme, 0.0))
        assert far.near == 0 and far.unit == "σ" and 0 < far.radius < extreme
        for z in own[:5]:
            found = planes.of(half, z)
            assert found.near == (np.linalg.norm(own - z, axis=1) <= found.radius).sum() >= 1


def test_projections_are_the_columns(run: Path) -> None:
    particles = ParticleTable(Run(run), False)
    np.testing.assert_array_equal(particles.values("row"), np.arange(PARTICLES) + 3)
    for half in (1, 2):
        own = particles.half == half
        axis, origin = particles.axis(half, "component2")
        np.testing.assert_allclose(particles.values("component2")[own], particles.mean[own] @ axis + origin, atol=1e-5)
        assert particles.values("component2")[own].mean() == pytest.approx(0, abs=1e-5)


def test_columns_of_the_table_are_numbers_that_differ_and_few_words(run: Path) -> None:
    table = run / "particles.star"
    lines = table.read_text().replace("_rlnClassNumber\n", "_rlnClassNumber\n_rlnMicrographNameNoDW\n").splitlines()
    states = ("a/b/open", "a/b/<b>shut", "a/b/open")
    with_words = [f"{line} {states[i % 3]}" if "a.mrcs" in line else line for i, line in enumerate(lines)]
    table.write_text("\n".join(with_words) + "\n")
    particles = ParticleTable(Run(run), False)
    found = {column.label: column for column in particles.table.listed()}
    # Of 50 different micrographs none is a class, and image names never are.
    assert set(found) == {"rlnDefocusU", "rlnClassNumber", "rlnMicrographNameNoDW"}
    assert found["rlnDefocusU"].unit == "Å" and found["rlnClassNumber"].kind == "class"
    # The first particle with latents is row 3 of the table.
    assert particles.values(found["rlnDefocusU"].identifier)[:2].tolist() == [1003, 1004]
    words = found["rlnMicrographNameNoDW"]
    assert words.kind == "class" and words.names == ("<b>shut", "open")
    first = len(lines) - PARTICLES - 5 + 3
    expected = [words.names.index(states[(first + i) % 3].removeprefix("a/b/")) for i in range(PARTICLES)]
    assert particles.values(words.identifier).tolist() == expected


@pytest.mark.parametrize(
    "identifier",
    [
        "",
        "component4",
        "component-1",
        "component0",
        "latent03",
        "component١",
        "star0",
        "star3",
        "star5",
        "star99",
        "kmeans",
        "motion1",
        "umap1",
        "displacement",
        "displacement_norm",
        "misfit",
        "gain",
        "mean",
        "__dict__",
        "half ",
    ],
)
def test_an_unknown_column_is_unknown(run: Path, identifier: str) -> None:
    with pytest.raises(KeyError):
        ParticleTable(Run(run), False).values(identifier)


MOTION = {"displacement_norm": "displacement", "particle_error": "error", "misfit": "misfit", "gain": "gain"}


def test_what_the_motion_says_is_matched_to_the_halves(run: Path) -> None:
    halves = np.arange(PARTICLES) % 2 + 1
    # Half 1 comes first, then half 2, each in the order of its particles.
    own = {name: 100.0 * scale + np.argsort(halves, kind="stable") for scale, name in enumerate(MOTION)}
    store_motion(run, **own)
    particles = ParticleTable(Run(run), False)
    for scale, identifier in enumerate(MOTION.values()):
        np.testing.assert_array_equal(particles.values(identifier), 100 * scale + np.arange(PARTICLES))
    listed = {column.identifier: column for column in particles.columns() if column.kind == "value"}
    assert [listed[name].unit for name in MOTION.values()] == ["Å", "Å", "", "nats"]


@pytest.mark.parametrize("name", MOTION)
def test_what_is_not_known_is_not_offered(run: Path, name: str) -> None:
    store_motion(run, **{name: np.full(PARTICLES, np.nan)})
    particles = ParticleTable(Run(run), False)
    offered = {column.identifier for column in particles.columns()} & set(MOTION.values())
    assert offered == set(MOTION.values()) - {MOTION[name]}
    with pytest.raises(KeyError):
        particles.values(MOTION[name])


@pytest.mark.parametrize(
    ("name", "broken"),
    [(name, "short") for name in MOTION] + [(name, "absent") for name in MOTION if name != "particle_error"],
)
def test_a_motion_that_is_cut_is_damage_and_not_an_empty_column(run: Path, name: str, broken: str) -> None:
    store_motion(run, **{name: np.ones(PARTICLES - 1) if broken == "short" else None})
    with pytest.raises(DamagedCheckpointError, match=r"motion\.npz"):
        ParticleTable(Run(run), False).columns()


def test_a_run_from_before_errors_were_measured_offers_none(run: Path) -> None:
    store_motion(run, particle_error=None)
    offered = {column.identifier for column in ParticleTable(Run(run), False).columns()}
    assert offered & set(MOTION.values()) == set(MOTION.values()) - {"error"}


def test_a_damaged_motion_is_damage(run: Path) -> None:
    (run / "motion.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(DamagedCheckpointError, match=r"motion\.npz"):
        ParticleTable(Run(run), False).columns()


def test_a_selection_loses_nothing(run: Path) -> None:
    particles, selections = ParticleTable(Run(run), False), Selections(run)
    chosen = np.zeros(PARTICLES, dtype=bool)
    chosen[[40, 2, 7]] = True
    saved = selections.save("the open state", chosen, particles, "lasso")
    source, found = read_star(run / "particles.star"), read_star(run / saved["file"])
    assert list(found.blocks) == ["optics", "particles"]
    assert found.blocks["optics"].equals(source.blocks["optics"])
    kept = source.blocks["particles"].iloc[[5, 10, 43]].reset_index(drop=True)
    assert found.blocks["particles"].equals(kept)
    about = json.loads((run / saved["file"]).with_suffix(".json").read_text())
    assert about["rows"] == [5, 10, 43] and about["name"] == "the open state"
    assert selections.listed() == [saved]


@pytest.mark.parametrize("count", [1, 7, 8, 9, 50, 64])
def test_a_choice_is_read_bit_by_bit_and_refused_if_it_is_of_others(count: int) -> None:
    chosen = np.random.default_rng(count).random(count) < 0.5
    content = np.packbits(chosen, bitorder="little").tobytes()
    assert choice(content, count).tolist() == chosen.tolist()
    last = np.packbits(np.ones(count, bool), bitorder="little").tobytes()
    for other, particles in ((content + b"\0", count), (content[:-1], count), (last, count - 1)):
        with pytest.raises(InputError, match=r"view\.selection-size"):
            choice(other, particles)


def test_a_selection_of_nothing_is_refused(run: Path) -> None:
    particles, selections = ParticleTable(Run(run), False), Selections(run)
    with pytest.raises(UsageError, match=r"view\.selection-empty"):
        selections.save("a", np.zeros(PARTICLES, dtype=bool), particles, "")
    assert not (run / "selections").exists()


def test_a_message_is_aligned_and_read_back() -> None:
    first, second = np.arange(3, dtype=np.uint8), np.arange(4, dtype=">f4").reshape(2, 2)
    message = pack({"a": "Å"}, first, second)
    header, rest = unpack(message)
    start = len(message) - len(rest)
    assert header["a"] == "Å" and start % 8 == 0
    assert header["arrays"] == [{"dtype": "uint8", "shape": [3]}, {"dtype": "float32", "shape": [2, 2]}]
    assert np.frombuffer(rest, "<f4", 4, 8).tolist() == [0, 1, 2, 3]


def test_quantising_errs_by_half_a_step() -> None:
    values = np.linspace(-1, 2, 1000, dtype=np.float32)
    found = quantised(values, 0.0, 1.0, np.uint16) / 65535
    assert np.abs(found - np.clip(values, 0, 1)).max() <= 0.51 / 65535
