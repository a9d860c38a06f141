"""What the tests of the cache share: a small data set whose training box is not that of its images, and a cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from dynaflex.cache.folder import CachePlan
from dynaflex.config import MapConfig
from dynaflex.prepare.inputs import InputPaths, Inputs, read_inputs
from dynaflex.shapes import IntArray, Tensor

Produce = Callable[[IntArray], Mapping[str, Tensor]]
TRAIN_BOX = 24


@pytest.fixture(scope="session")
def inputs(few: Path) -> Inputs:
    paths = InputPaths(few / "particles.star", few / "consensus.mrc", few / "mask.mrc")
    return read_inputs(paths, MapConfig(train_box=TRAIN_BOX))


@pytest.fixture
def plan() -> CachePlan:
    """700 images of 8 and of 16 pixels: three pieces are written."""
    return CachePlan("key", np.arange(700)[::-1].copy(), np.arange(700), {"train": 8, "full": 16})


def told(places: IntArray) -> dict[str, Tensor]:
    """Images that say whose they are."""
    value = torch.from_numpy(places).half()[:, None, None]
    return {"train": value.expand(-1, 8, 8).contiguous(), "full": -value.expand(-1, 16, 16).contiguous()}
