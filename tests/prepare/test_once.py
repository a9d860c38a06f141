"""Laws of reading: a table is parsed once by a command, and an image is read once by a pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynaflex.config import MapConfig
from dynaflex.data import particles as tables
from dynaflex.data.image_files import ImageFiles
from dynaflex.grid import Grid
from dynaflex.prepare.images import ParticleImages
from dynaflex.prepare.inputs import InputPaths, read_inputs
from dynaflex.reconstruct.operator import Operator
from dynaflex.results.half_maps.made import SWEEPS, Passes, both_maps
from moved import MovedField

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["check", "flex", "dynamight"])
def test_the_table_is_parsed_once(
    name: str, few: Path, command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed, parse = [], tables.read_table

    def counted(path: Path | str, *more: Any) -> Any:
        parsed.append(path)
        return parse(path, *more)

    monkeypatch.setattr(tables, "read_table", counted)
    end = () if name == "check" else ("--until", "prepare", "-o", tmp_path / "run")
    ended = command(name, few / "particles.star", "--map", few / "consensus.mrc", "--mask", few / "mask.mrc", *end)
    assert ended.code == 0, ended.err
    assert len(parsed) == 1


def test_both_maps_read_every_image_once(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = read_inputs(InputPaths(few / "particles.star", few / "consensus.mrc", few / "mask.mrc"), MapConfig())
    images = ParticleImages(inputs.particles, inputs.imaging, CPU)
    read: list[int] = []
    from_disk = ImageFiles.read

    def counted(files: ImageFiles, index: np.ndarray, grid: Grid) -> Any:
        read.extend(index.tolist())
        return from_disk(files, index, grid)

    monkeypatch.setattr(ImageFiles, "read", counted)
    batches = Passes(images, "maps", SWEEPS["iterative"], torch.zeros(len(images), 2))
    both_maps(Operator(MovedField(images.grid)), batches, "iterative")
    assert sorted(read) == list(range(len(images)))
