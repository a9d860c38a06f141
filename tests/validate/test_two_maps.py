"""The FSC of two files: no resolution without a pixel size, and none of a map with itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynaflex import fourier
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.io.mrc import Place, read_map, write_map
from dynaflex.validate.two_maps import compare_maps

GRID = Grid(24, 3.0)


@pytest.fixture
def maps(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two maps with signal to about 12 Å and noise of their own, and a soft mask around it."""
    generator = torch.Generator().manual_seed(0)
    radius = GRID.radius_of_points().view((24,) * 3)
    signal = fourier.low_pass(torch.randn((24,) * 3, generator=generator), GRID, 12.0)
    ball = ((26.0 - radius) / 8.0).clamp(0.0, 1.0)
    paths = tmp_path / "half1.mrc", tmp_path / "half2.mrc", tmp_path / "mask.mrc"
    for path in paths[:2]:
        noise = 0.2 * torch.randn((24,) * 3, generator=generator)
        write_map(path, (signal / signal.std() * ball + noise).numpy(), 3.0)
    write_map(paths[2], ball.numpy(), 3.0)
    return paths


def rewrite(path: Path, pixel_size: float = 3.0, place: Place | None = None, cut: int = 24) -> Path:
    write_map(path, read_map(path).data[:cut, :cut, :cut], pixel_size, place or Place())
    return path


def refused(*paths: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        compare_maps(*paths)
    return caught.value


def test_every_curve_is_named_and_the_one_to_quote_comes_first(maps: tuple[Path, Path, Path]) -> None:
    found = compare_maps(*maps)
    assert found.warnings == () and found.quoted == "corrected"
    each = found.curves.resolutions(0.143)
    assert each["corrected"] == found.curves.resolution(0.143)
    line = next(line for line in found.lines() if "FSC 0.143" in line)
    assert line.index("corrected") < line.index(" masked") < line.index("unmasked")
    for name, value in each.items():
        assert f"{value:.2f} Å {name}" in line or f"{value:.2f} Å (Nyquist" in line
    alone = compare_maps(*maps[:2])
    assert alone.quoted == "unmasked"
    assert [line.count("masked") for line in alone.lines()[1:3]] == [1, 1]
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_curve_that_never_falls_ends_at_nyquist_and_says_so(maps: tuple[Path, Path, Path]) -> None:
    one = read_map(maps[0]).data
    write_map(maps[1], one + 0.02 * np.random.default_rng(0).normal(size=one.shape).astype(np.float32), 3.0)
    found = compare_maps(*maps[:2])
    assert found.curves.resolutions(0.143)["unmasked"] == pytest.approx(2 * 3.0)
    assert "6.00 Å (Nyquist" in " ".join(found.lines())


def test_a_pixel_size_is_never_made_up(maps: tuple[Path, Path, Path]) -> None:
    first, second, _ = maps
    expected = compare_maps(first, second).curves.resolution(0.143)
    for nameless in (first, second):
        rewrite(nameless, 0.0)
        found = compare_maps(first, second)
        assert found.curves.resolution(0.143) == expected
        assert len(found.warnings) == 1 and str(nameless) in found.warnings[0] and "3 Å" in found.warnings[0]
        rewrite(nameless, 3.0)
    for path in (first, second):
        rewrite(path, 0.0)
    assert refused(first, second).identifier == "fsc.no-pixel-size"
    for path in (first, second):
        rewrite(path, 1.0)
    assert "do not know it" in compare_maps(first, second).warnings[0]


@pytest.mark.parametrize(
    ("which", "change", "identifier"),
    [
        (1, {"pixel_size": 1.5}, "volume.pixel-size"),
        (1, {"pixel_size": 1.0}, "volume.pixel-size"),
        (1, {"cut": 20}, "volume.box"),
        (1, {"place": Place((3.0, 0.0, 0.0))}, "volume.misplaced"),
        (1, {"place": Place((1.5, 0.0, 0.0))}, "volume.misplaced"),
        (2, {"pixel_size": 2.0}, "volume.pixel-size"),
        (2, {"cut": 20}, "volume.box"),
        (2, {"place": Place((1.4, 0.0, 0.0))}, "volume.misplaced"),
    ],
)
def test_what_does_not_lie_on_the_first_map(
    maps: tuple[Path, Path, Path], which: int, change: dict[str, Any], identifier: str
) -> None:
    error = refused(maps[0], *[rewrite(path, **change) if i + 1 == which else path for i, path in enumerate(maps[1:])])
    assert (error.identifier, error.file) == (identifier, maps[which])


def test_a_map_is_not_compared_with_itself(maps: tuple[Path, Path, Path], tmp_path: Path) -> None:
    first, _, mask = maps
    one = read_map(first).data
    write_map(tmp_path / "copy.mrc", 2.0 * one + 1.0, 3.0)
    (tmp_path / "link.mrc").symlink_to(first)
    for same in (first, tmp_path / "copy.mrc", tmp_path / "link.mrc"):
        assert refused(first, same).identifier == "map.same"
        assert refused(first, same, mask).identifier == "map.same"
    coefficients = torch.fft.rfftn(torch.from_numpy(one).double())
    squared = (GRID.radius(3).double() / GRID.width).square()
    steeper = torch.fft.irfftn(coefficients * torch.exp(150.0 / 4.0 * squared), s=one.shape)
    write_map(tmp_path / "sharp.mrc", steeper.float().numpy(), 3.0)
    assert "no two sets of particles" in " ".join(compare_maps(first, tmp_path / "sharp.mrc").warnings)


def test_what_is_no_map_and_no_mask(maps: tuple[Path, Path, Path], tmp_path: Path) -> None:
    write_map(tmp_path / "flat.mrc", np.zeros((24,) * 3, dtype=np.float32), 3.0)
    assert refused(maps[0], tmp_path / "flat.mrc").identifier == "map.constant"
    assert refused(*maps[:2], maps[0]).identifier == "mask.values"
    assert refused(*maps[:2], tmp_path / "flat.mrc").identifier == "mask.values"


def test_a_cropped_mask_is_put_in_its_place(maps: tuple[Path, Path, Path]) -> None:
    expected = compare_maps(*maps)
    write_map(maps[2], read_map(maps[2]).data[1:24, 3:22, 2:23], 3.0, Place(start=(2, 3, 1)))
    found = compare_maps(*maps)
    assert torch.equal(found.curves.masked, expected.curves.masked)
    assert "was put where its header says" in found.warnings[0]


def test_the_command_warns_beside_its_answer(maps: tuple[Path, Path, Path], command: Callable[..., Any]) -> None:
    rewrite(maps[0], 0.0)
    for options in ((), ("--json",)):
        outcome = command("fsc", *maps[:2], *options)
        assert outcome.code == 0 and outcome.err.startswith("warning: ") and "pixel size" in outcome.err
    assert json.loads(outcome.out)["resolutions"]["0.143"]["unmasked"] is not None
