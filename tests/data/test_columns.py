from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dynaflex.data.columns import ParticleColumns, particle_block
from dynaflex.errors import InputError
from dynaflex.io.star import StarFile


def columns(**tables: dict[str, list[str]]) -> ParticleColumns:
    blocks = {name: pd.DataFrame(table, dtype=object) for name, table in tables.items()}
    return ParticleColumns.of(StarFile(Path("x.star"), blocks))


IMAGES = {"rlnImageName": ["1@a", "2@a", "3@a"]}
GROUPS = {"rlnOpticsGroup": ["7", "3", "7"]}


def test_every_particle_gets_the_optics_of_its_group() -> None:
    table = columns(
        optics={"rlnOpticsGroup": ["3", "7"], "rlnVoltage": ["200", "300"], "rlnBeamTiltX": ["0.1", "0.2"]},
        particles=IMAGES | GROUPS | {"rlnBeamTiltX": ["1", "2", "3"]},
    )
    np.testing.assert_array_equal(table.group, [7, 3, 7])
    np.testing.assert_array_equal(table.number("rlnVoltage"), [300, 200, 300])
    # RELION reads the particle's own value first.
    np.testing.assert_array_equal(table.number("rlnBeamTiltX"), [1, 2, 3])
    np.testing.assert_array_equal(table.number("rlnCtfBfactor", 0.0), [0, 0, 0])


def test_the_order_of_the_blocks_does_not_matter() -> None:
    optics, particles = {"rlnOpticsGroup": ["3", "7"], "rlnVoltage": ["200", "300"]}, IMAGES | GROUPS
    first = columns(optics=optics, particles=particles)
    last = columns(particles=particles, optics=optics)
    np.testing.assert_array_equal(first.number("rlnVoltage"), last.number("rlnVoltage"))


@pytest.mark.parametrize("name", ["", "images", "model_class_1"])
def test_the_single_block_of_relion_30_has_any_name(name: str) -> None:
    table = columns(**{name: IMAGES})
    assert table.block == name
    np.testing.assert_array_equal(table.group, [1, 1, 1])


@pytest.mark.parametrize(
    ("blocks", "block"),
    [
        # More optics groups than particles, more micrographs than particles, and a name of its own among longer tables.
        ({"optics": {"rlnOpticsGroup": [str(n) for n in range(1, 300)]}, "particles": IMAGES | GROUPS}, "particles"),
        ({"micrographs": {"rlnMicrographName": ["m"] * 50}, "particles": IMAGES}, "particles"),
        ({"images": IMAGES, "model_classes": {"rlnReferenceImage": ["1@c"] * 50}}, "images"),
        ({"particles": IMAGES, "copies": {"rlnImageName": ["1@a"] * 50}}, "particles"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_the_particle_table_is_that_of_the_particles_however_long(
    blocks: dict[str, dict[str, list[str]]], block: str, turned: bool
) -> None:
    tables = {name: pd.DataFrame(table, dtype=object) for name, table in blocks.items()}
    star = StarFile(Path("x.star"), dict(reversed(tables.items())) if turned else tables)
    assert particle_block(star) == block


def test_lists_are_padded() -> None:
    table = columns(
        optics={"rlnOpticsGroup": ["3", "7"], "rlnOddZernike": ["[0.5,-1]", "[1e-3,2,3]"]}, particles=IMAGES | GROUPS
    )
    np.testing.assert_array_equal(table.vector("rlnOddZernike"), [[1e-3, 2, 3], [0.5, -1, 0], [1e-3, 2, 3]])
    assert table.vector("rlnEvenZernike").shape == (3, 0)


def test_missing_values_are_nan_and_words_are_errors() -> None:
    table = columns(particles=IMAGES | {"a": ["nan", "<NA>", "1e5"], "b": ["1", "-inf", "two"]})
    np.testing.assert_array_equal(table.number("a"), [np.nan, np.nan, 1e5])
    with pytest.raises(InputError, match="'two'") as caught:
        table.number("b")
    assert (caught.value.field, caught.value.row) == ("b", 2)


@pytest.mark.parametrize(
    ("tables", "identifier"),
    [
        ({"particles": IMAGES, "optics": {"rlnOpticsGroup": ["1", "2"]}}, "star.missing-column"),
        ({"particles": IMAGES | GROUPS, "optics": {"rlnOpticsGroup": ["3", "8"]}}, "star.unknown-group"),
        ({"particles": IMAGES | GROUPS, "optics": {"rlnOpticsGroup": ["7", "3", "7"]}}, "star.repeated-group"),
        ({"particles": IMAGES | {"rlnTomoName": ["t"] * 3}}, "star.tomography"),
        ({"particles": {"rlnTomoParticleName": ["t/1"]}}, "star.tomography"),
        ({"particles": IMAGES | {"rlnCtfImage": ["t"] * 3}}, "star.tomography"),
        (
            {"particles": IMAGES, "optics": {"rlnOpticsGroup": ["1"], "rlnImageDimensionality": ["3"]}},
            "star.tomography",
        ),
        ({"particles": {"rlnCoordinateX": ["1"]}}, "star.missing-column"),
        ({"micrographs": {"rlnMicrographName": ["m"]}}, "star.no-particle-table"),
        ({"a": IMAGES, "b": IMAGES}, "star.no-particle-table"),
        ({"particles": {"rlnImageName": []}}, "star.no-particles"),
    ],
)
def test_tables_that_are_refused(tables: dict[str, dict[str, list[str]]], identifier: str) -> None:
    with pytest.raises(InputError) as caught:
        columns(**tables)
    assert caught.value.identifier == identifier
