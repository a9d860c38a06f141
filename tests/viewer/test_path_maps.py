"""Laws of the maps that the explorer makes of the particles around a path: those of the command line, and stoppable."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dynaflex.errors import UsageError
from dynaflex.viewer.opened import OpenedRun

TABLE = ["particles_half1", "particles_half2", "distance_half1_A", "resolution_A", "carried_correlation"]


@pytest.fixture
def opened(finished_run: Path) -> OpenedRun:
    return OpenedRun(finished_run)


def ended(opened: OpenedRun) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while (told := opened.path_maps())["working"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return told


def path_of(opened: OpenedRun, frames: int) -> np.ndarray:
    return np.array(opened.conformations().path_along(1, "component1", frames), dtype=np.float32)


def density(message: bytes) -> np.ndarray:
    (size,) = struct.unpack_from("<I", message)
    header = json.loads(message[4 : 4 + size])
    shape = header["arrays"][0]["shape"]
    return np.frombuffer(message, "<u2", int(np.prod(shape)), 4 + size).reshape(shape) * header["step"]


def test_they_are_those_of_the_command(
    opened: OpenedRun, finished_run: Path, command: Callable[..., Any], tmp_path: Path
) -> None:
    nodes = path_of(opened, 3)
    assert opened.make_path_maps(1, nodes)["working"]
    told = ended(opened)
    assert told["error"] is None and [node["lack"] for node in told["nodes"]] == ["", "", ""]
    np.save(tmp_path / "z.npy", nodes)
    out = tmp_path / "out"
    outcome = command("volumes", finished_run, "-o", out, "--path", tmp_path / "z.npy", "--from-particles")
    assert outcome.code == 0, outcome.err
    table = pd.read_csv(out / "particles.csv")
    for i, node in enumerate(told["nodes"]):
        assert np.allclose([node[name] for name in TABLE], table.loc[i, TABLE].to_numpy(dtype=float), rtol=2e-3)
    first, last = (density(opened.path_map(i)) for i in (0, 2))
    assert min(first.max(), last.max()) > 0
    assert first.shape != last.shape or not np.allclose(first, last, atol=0.05 * first.max())


def test_they_can_be_stopped_and_another_path_begun(opened: OpenedRun) -> None:
    opened.make_path_maps(1, path_of(opened, 40))
    opened.make_path_maps(1, np.empty((0, 0), dtype=np.float32))
    assert len(ended(opened)["nodes"]) < 40
    opened.make_path_maps(2, path_of(opened, 2))
    assert len(ended(opened)["nodes"]) == 2


def test_what_is_no_path_is_refused(opened: OpenedRun) -> None:
    nodes = path_of(opened, 3)
    for half, wrong in ((3, nodes), (1, nodes[:, :1]), (1, np.repeat(nodes, 20, axis=0)), (1, nodes * np.nan)):
        with pytest.raises(UsageError):
            opened.make_path_maps(half, wrong)
    assert opened.path_maps() == {"working": False, "nodes": [], "error": None}
    with pytest.raises(KeyError):
        opened.path_map(0)
