"""Particles that were picked twice, one time for each half."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dynaflex.checking.duplicates import picked_twice
from dynaflex.data.particles import read_particles

Blocks = dict[str, dict[str, list[str]]]
Save = Callable[[Blocks], Path]
# Half the width of the box, 16 pixels of 2 Å, is the diameter where there is no mask; a quarter of that is close.
CLOSE = 0.25 * 16.0


@pytest.fixture
def placed(blocks: Blocks) -> Blocks:
    """All particles on one micrograph, far from each other and not shifted; rows 0 and 11 are in different halves."""
    table = blocks["particles"]
    table["rlnMicrographName"] = ["mic.mrc"] * 12
    table["rlnOriginXAngst"] = table["rlnOriginYAngst"] = ["0.0"] * 12
    table["rlnCoordinateX"] = [str(100.0 * i) for i in range(12)]
    table["rlnCoordinateY"] = ["50.0"] * 12
    return blocks


def found(path: Path, mask: np.ndarray | None = None) -> list[str]:
    return [f"{error} {error.identifier}" for error in picked_twice(read_particles(path), mask)]


def put(blocks: Blocks, row: int, x: float, y: float = 50.0) -> None:
    blocks["particles"]["rlnCoordinateX"][row] = str(x)
    blocks["particles"]["rlnCoordinateY"][row] = str(y)


def test_particles_far_apart_are_fine(placed: Blocks, save: Save) -> None:
    assert found(save(placed)) == []


@pytest.mark.parametrize(("pixels", "pairs"), [(0.0, 1), (0.45 * CLOSE, 1), (0.55 * CLOSE, 0)])
def test_a_pair_across_the_halves_is_named(placed: Blocks, save: Save, pixels: float, pairs: int) -> None:
    """A pixel of the micrograph is one of the image, 2 Å, where nothing else is said."""
    put(placed, 11, pixels)
    said = found(save(placed))
    assert len(said) == pairs
    if pairs:
        assert "1 pairs" in said[0] and "rows 0 and 11" in said[0] and "mic.mrc" in said[0]
        assert "rlnCoordinateX" in said[0] and "--remove_duplicates 4" in said[0]
        assert said[0].endswith("[halves.same-place] halves.same-place")


def test_a_pair_within_a_half_or_on_two_micrographs_is_nobodys_leak(placed: Blocks, save: Save) -> None:
    put(placed, 1, 0.0)
    assert found(save(placed)) == []
    put(placed, 11, 0.0)
    placed["particles"]["rlnMicrographName"][11] = "other.mrc"
    assert found(save(placed)) == []


def test_the_micrographs_own_pixel_size_is_used(placed: Blocks, save: Save) -> None:
    put(placed, 11, 0.55 * CLOSE)
    placed["optics"]["rlnMicrographPixelSize"] = ["1.0", "1.0"]
    assert len(found(save(placed))) == 1


@pytest.mark.parametrize(
    ("movie", "binned", "pairs"),
    [("1.0", 1, 0), ("0.5", 1, 0), ("3.0", 1, 0), ("1.0", 0, 1)],
)
def test_the_movies_pixel_size_is_not_the_micrographs(
    placed: Blocks, save: Save, movie: str, binned: int, pairs: int
) -> None:
    """Between that of the movie and that of the images, 2 Å, any may be the micrograph's, and none is to be guessed:
    too far apart with the largest is fine, however close with the smallest; at one place with every one is a pair."""
    put(placed, 11, 0.9 * CLOSE if binned else 0.1)
    placed["optics"]["rlnMicrographOriginalPixelSize"] = [movie, movie]
    assert len(found(save(placed))) == pairs
    placed["optics"]["rlnMicrographPixelSize"] = ["1.0", "1.0"]
    assert len(found(save(placed))) == 1, "what is certain is used"


def test_shifts_count(placed: Blocks, save: Save) -> None:
    """Two picks 10 pixels apart that refinement brings together: the origin is minus the particle's place."""
    put(placed, 11, 10.0)
    placed["particles"]["rlnOriginXAngst"] = ["0.0"] * 11 + ["20.0"]
    assert len(found(save(placed))) == 1
    placed["particles"]["rlnOriginXAngst"] = ["0.0"] * 11 + ["-20.0"]
    assert found(save(placed)) == []


def test_the_mask_gives_the_diameter(placed: Blocks, save: Save) -> None:
    put(placed, 11, 0.6 * CLOSE)
    path = save(placed)
    full = np.ones((16, 16, 16), dtype=np.float32)
    assert found(path) == [] and len(found(path, full)) == 1
    assert found(path, 0 * full) == [], "an empty mask says nothing"


def test_coordinates_that_were_never_filled_in_make_no_pair_of_every_two(placed: Blocks, save: Save) -> None:
    """All at one place: each particle of one half has a partner there, which is said of each once."""
    for row in range(12):
        put(placed, row, 0.0, 0.0)
    halves = placed["particles"]["rlnRandomSubset"]
    (said,) = found(save(placed))
    assert f"{halves.count('1')} pairs" in said


@pytest.mark.parametrize("empty", ["1", "2"])
def test_a_half_without_places_has_no_pairs(placed: Blocks, save: Save, empty: str) -> None:
    for row, half in enumerate(placed["particles"]["rlnRandomSubset"]):
        put(placed, row, 1e12 if half == empty else 0.0)
    assert found(save(placed)) == []


def test_copies_of_one_image_are_left_to_another_check(placed: Blocks, save: Save) -> None:
    put(placed, 11, 0.0)
    placed["particles"]["rlnImageName"][11] = placed["particles"]["rlnImageName"][0]
    assert found(save(placed)) == []


def test_without_coordinates_nothing_is_said(placed: Blocks, save: Save) -> None:
    put(placed, 11, 0.0)
    del placed["particles"]["rlnCoordinateX"]
    assert found(save(placed)) == []
