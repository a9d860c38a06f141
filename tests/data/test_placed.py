"""Masks, segments and half-maps lie where their headers say, however they were cropped, padded or numbered."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import mrcfile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynaflex.data.placed import Frame, matched, read_mask, read_segments
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.io.mrc import Place, read_map, write_map

BOX, PIXEL = 20, 1.5
GRID = Grid(BOX, PIXEL)
CENTRED = Place(start=(-BOX // 2,) * 3)
Numbers = tuple[int, int, int]


def block() -> np.ndarray:
    """A mask whose content, nowhere symmetric, keeps five voxels from the edges."""
    volume = np.zeros((BOX,) * 3, dtype=np.float32)
    volume[5:12, 6:14, 7:15] = np.random.default_rng(0).uniform(0.6, 1.0, (7, 8, 8))
    return volume


def moved(place: Place, voxels: Numbers, in_angstrom: bool) -> Place:
    """The place of what begins so many voxels (x, y, z) after the volume at ``place``."""
    corner = np.array(place.corner(PIXEL)) + PIXEL * np.array(voxels)
    if in_angstrom:
        return Place(tuple(float(value) for value in corner))
    return Place(start=tuple(round(value / PIXEL) for value in corner))


def region(volume: np.ndarray, first: Numbers, last: Numbers, around: float) -> np.ndarray:
    """Voxels ``first`` to ``last`` (x, y, z) of a volume, which is ``around`` outside of its box."""
    wide = np.pad(volume, 8, constant_values=around)
    return wide[tuple(slice(a + 8, b + 8) for a, b in zip(first[::-1], last[::-1], strict=True))]


def read(volume: np.ndarray, place: Place, frame: Frame, pixel_size: float = PIXEL) -> tuple[np.ndarray, list[str]]:
    with TemporaryDirectory() as folder:
        write_map(Path(folder) / "mask.mrc", volume, pixel_size, place)
        warnings: list[str] = []
        return read_mask(Path(folder) / "mask.mrc", frame, warnings), warnings


def refused(volume: np.ndarray, place: Place, frame: Frame) -> InputError:
    with pytest.raises(InputError) as caught:
        read(volume, place, frame)
    return caught.value


corners = st.tuples(st.integers(-7, 4), st.integers(-7, 4), st.integers(-7, 4))
ends = st.tuples(st.integers(16, 27), st.integers(16, 27), st.integers(16, 27))


@settings(max_examples=60, deadline=None)
@given(corners, ends, st.sampled_from([Place(), CENTRED, Place((40.5, -3.0, 12.0))]), st.booleans())
def test_a_part_of_the_box_is_put_back(first: Numbers, last: Numbers, place: Place, in_angstrom: bool) -> None:
    """Cropped or padded, a cuboid or not, told in Å or by the first voxel: the same mask comes out."""
    where = moved(place, first, in_angstrom)
    if not where.stated or (
        place == Place() and first == tuple(-(b - a) // 2 for a, b in zip(first, last, strict=True))
    ):
        return  # It says nothing, or what an entry of the EMDB would say.
    placed, _ = read(region(block(), first, last, 0.0), where, Frame(GRID, place))
    np.testing.assert_array_equal(placed, block())


@pytest.mark.parametrize("solvent", [-1, -3, 0])
def test_around_cropped_segments_there_is_solvent(tmp_path: Path, solvent: int) -> None:
    """With segments from 0 and negative solvent, or from 1 and solvent 0; never is the outside the first segment."""
    whole = np.full((BOX,) * 3, solvent, dtype=np.float32)
    whole[5:12, 6:14, 7:15] = 1
    whole[5:8, 6:14, 7:15] = 0 if solvent < 0 else 2
    write_map(tmp_path / "whole.mrc", whole, PIXEL)
    write_map(tmp_path / "part.mrc", whole[4:15, 5:16, 3:19], PIXEL, Place(start=(3, 5, 4)))
    frame = Frame(GRID, Place())
    expected = read_segments(tmp_path / "whole.mrc", frame, [])
    np.testing.assert_array_equal(expected, np.where(whole == solvent, -1, whole))
    np.testing.assert_array_equal(read_segments(tmp_path / "part.mrc", frame, []), expected)


def test_a_shift_by_whole_voxels_is_made_and_told() -> None:
    placed, warnings = read(block(), moved(Place(), (2, -3, 1), True), Frame(GRID, Place()))
    np.testing.assert_array_equal(placed, np.roll(block(), (1, -3, 2), axis=(0, 1, 2)))
    assert len(warnings) == 1 and "2, -3, 1" in warnings[0]


@pytest.mark.parametrize("off", [(0.5, 0.0, 0.0), (3.0, -0.3, 2.0)])
def test_between_voxels_nothing_is_guessed_and_the_advice_works(off: tuple[float, ...]) -> None:
    place = Place((30.0, -12.0, 4.5))
    corner = np.array(place.origin) + PIXEL * np.array(off)
    error = refused(block(), Place(tuple(float(value) for value in corner)), Frame(GRID, place))
    assert error.identifier == "volume.misplaced"
    # To be typed in ChimeraX, which then writes that origin.
    x, y, z = (float(value) for value in str(error.fix).split("origin ")[1].split(", and")[0].split(","))
    placed, warnings = read(block(), Place((x, y, z)), Frame(GRID, place))
    np.testing.assert_array_equal(placed, block())
    assert warnings == []


def test_what_lies_elsewhere_is_refused() -> None:
    for away in (BOX, -BOX, 3 * BOX, 9):
        error = refused(block(), moved(Place(), (away, 0, 0), False), Frame(GRID, Place()))
        assert error.identifier == "volume.misplaced" and "% of it outside" in str(error.found)


@pytest.mark.parametrize("place", [Place(), CENTRED, Place((7.5, 0.0, 0.0))])
def test_a_header_that_says_nothing_is_as_the_map(place: Place) -> None:
    """Most programs write no place: a mask of the map's box then lies on it, which is told where the map has one."""
    placed, warnings = read(block(), Place(), Frame(GRID, place))
    np.testing.assert_array_equal(placed, block())
    assert len(warnings) == int(place.stated)


@pytest.mark.parametrize("box", [BOX, BOX + 6, BOX - 3])
def test_numbers_from_the_centre_are_of_the_centre(box: int) -> None:
    """An entry of the EMDB beside a map of RELION: their centres are one."""
    around = (box // 2 - BOX // 2,) * 3
    volume = region(block(), tuple(-a for a in around), tuple(box - a for a in around), 0.0)
    placed, warnings = read(volume, Place(start=(-(box // 2),) * 3), Frame(GRID, Place()))
    np.testing.assert_array_equal(placed, block())
    assert len(warnings) >= 1 and "centre" in warnings[0]


def test_another_box_without_a_place_is_refused(tmp_path: Path) -> None:
    error = refused(block()[4:, 4:, 4:], Place(), Frame(GRID, Place()))
    assert error.identifier == "volume.box" and error.found == "16 voxels"
    write_map(tmp_path / "labels.mrc", np.rint(block())[4:, 3:], PIXEL)
    with pytest.raises(InputError) as caught:
        read_segments(tmp_path / "labels.mrc", Frame(GRID, Place()), [])
    assert caught.value.found == "20 x 17 x 16 voxels"
    # It would pad around the centre, with zeros, which are a segment.
    assert "new_box" not in str(caught.value.fix)


def test_without_a_pixel_size_the_first_voxel_still_counts() -> None:
    placed, warnings = read(block()[4:, 3:, 2:], Place(start=(2, 3, 4)), Frame(GRID, Place()), pixel_size=0.0)
    np.testing.assert_array_equal(placed, block())
    assert "no pixel size" in warnings[0]


def test_maps_to_be_compared_are_not_cut_or_moved(tmp_path: Path) -> None:
    frame = Frame(GRID, CENTRED)
    for place, identifier in (
        (Place(start=(-9, -10, -10)), "volume.misplaced"),
        (Place((1.0, 0.0, 0.0)), "volume.misp"),
    ):
        write_map(tmp_path / "half.mrc", block(), PIXEL, place)
        with pytest.raises(InputError, match=identifier):
            matched(read_map(tmp_path / "half.mrc"), "half.mrc", frame, [])
    write_map(tmp_path / "half.mrc", block(), PIXEL, Place((-0.5 * BOX * PIXEL,) * 3))
    np.testing.assert_array_equal(matched(read_map(tmp_path / "half.mrc"), "half.mrc", frame, []), block())


def test_what_mrcfile_writes_is_read_where_it_says(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "part.mrc") as file:
        file.set_data(block()[3:18, 2:, :17])
        file.voxel_size = PIXEL
        file.nstart = (0, 2, 3)
    placed = read_mask(tmp_path / "part.mrc", Frame(GRID, Place()), [])
    np.testing.assert_array_equal(placed, block())
