"""Half-maps that a run starts from: two maps of different particles, on the voxels of the consensus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dynaflex.checking.volume_checks import read_half_maps
from dynaflex.data.placed import Frame
from dynaflex.errors import InputError
from dynaflex.io.mrc import MrcMap, Place, read_map, write_map

PLACE = Place(start=(-8, -8, -8))


@pytest.fixture
def maps(tmp_path: Path) -> list[Path]:
    """A map and its halves, all at one place."""
    rng = np.random.default_rng(0)
    z, y, x = np.indices((16, 16, 16)) - 8
    signal = np.exp(-(x**2 + y**2 + z**2) / 18.0)
    halves = [signal + rng.normal(0, 0.05, signal.shape) for _ in range(2)]
    paths = [tmp_path / f"{name}.mrc" for name in ("map", "half1", "half2")]
    for path, volume in zip(paths, (0.5 * (halves[0] + halves[1]), *halves), strict=True):
        write_map(path, volume.astype(np.float32), 2.0, PLACE)
    return paths


def read(maps: list[Path]) -> tuple[list[np.ndarray], list[str]]:
    consensus, warnings = read_map(maps[0]), list[str]()
    return read_half_maps((maps[1], maps[2]), consensus, maps[0], Frame.of(consensus), warnings), warnings


def rewrite(path: Path, volume: np.ndarray, pixel_size: float = 2.0, place: Place = PLACE) -> None:
    write_map(path, volume, pixel_size, place)


def volume_of(path: Path) -> np.ndarray:
    found: MrcMap = read_map(path)
    return found.data


def test_halves_are_read_as_they_are(maps: list[Path]) -> None:
    halves, warnings = read(maps)
    for path, half in zip(maps[1:], halves, strict=True):
        np.testing.assert_array_equal(half, volume_of(path))
    assert warnings == []


def test_a_half_that_is_another_is_refused(maps: list[Path]) -> None:
    """The same file, a copy, a copy at another grey scale, and the consensus, which holds both halves."""
    one, other = volume_of(maps[1]), volume_of(maps[2])
    for first, second in ((one, one), (one, 3.0 * one + 0.5), (volume_of(maps[0]), other), (other, volume_of(maps[0]))):
        rewrite(maps[1], first)
        rewrite(maps[2], second.astype(np.float32))
        with pytest.raises(InputError) as caught:
            read(maps)
        assert caught.value.identifier == "map.same"
    with pytest.raises(InputError, match="half1"):
        read([maps[0], maps[1], maps[1]])


@pytest.mark.parametrize(
    ("pixel_size", "place", "cut", "identifier"),
    [
        (2.1, PLACE, 16, "volume.pixel-size"),
        (2.0, Place(), 14, "volume.box"),
        (2.0, Place(start=(-7, -8, -8)), 16, "volume.misplaced"),
        (2.0, PLACE, 14, "volume.box"),
    ],
)
def test_a_half_that_does_not_lie_on_the_consensus(
    maps: list[Path], pixel_size: float, place: Place, cut: int, identifier: str
) -> None:
    rewrite(maps[2], volume_of(maps[2])[:cut, :cut, :cut], pixel_size, place)
    with pytest.raises(InputError) as caught:
        read(maps)
    assert (caught.value.identifier, caught.value.file) == (identifier, maps[2])


def test_a_half_that_is_no_map(maps: list[Path]) -> None:
    rewrite(maps[1], np.zeros((16, 16, 16), dtype=np.float32))
    with pytest.raises(InputError) as caught:
        read(maps)
    assert (caught.value.identifier, caught.value.file) == ("map.constant", maps[1])
