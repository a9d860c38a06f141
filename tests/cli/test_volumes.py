"""Laws of ``volumes``: series, particles, latents and paths are the conformations that the model gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaflex.io.mrc import read_map

Command = Callable[..., Any]


def volumes_in(folder: Path) -> list[np.ndarray]:
    paths = sorted(folder.glob("vol_*.mrc"))
    assert [path.name for path in paths] == [f"vol_{number:03d}.mrc" for number in range(len(paths))]
    script = (folder / "volumes.cxc").read_text()
    assert all(path.name in script for path in paths)
    return [read_map(path).data for path in paths]


def test_volumes_along_an_axis_go_from_one_end_to_the_other(
    command: Command, finished_run: Path, tmp_path: Path
) -> None:
    outcome = command("volumes", finished_run, "-o", tmp_path / "v", "--axis", 1, "--frames", 3)
    assert outcome.code == 0, outcome.err
    first, middle, last = volumes_in(tmp_path / "v")
    ends, steps = np.linalg.norm(first - last), [np.linalg.norm(a - b) for a, b in ((first, middle), (middle, last))]
    assert ends > max(steps) > 0
    assert read_map(tmp_path / "v" / "vol_000.mrc").pixel_size == 6.0
    # One grey scale: density moves, and does not come or go.
    assert np.allclose([first.sum(), last.sum()], middle.sum(), rtol=0.15)


def test_volumes_of_particles_latents_and_a_path_agree(
    command: Command, finished_run: Path, tmp_path: Path, halves: dict[int, list[int]]
) -> None:
    rows = halves[1][:2]
    with np.load(finished_run / "latents.npz") as latents:
        np.save(tmp_path / "z.npy", latents["mean"][rows])
    asked = {
        "p": ("--particles", ",".join(map(str, rows))),
        "l": ("--latents", tmp_path / "z.npy"),
        "t": ("--path", tmp_path / "z.npy"),
    }
    made = {}
    for name, option in asked.items():
        outcome = command("volumes", finished_run, "-o", tmp_path / name, *option)
        assert outcome.code == 0, outcome.err
        made[name] = volumes_in(tmp_path / name)
    assert len(made["p"]) == 2 and not np.allclose(made["p"][0], made["p"][1])
    assert np.array_equal(made["p"], made["l"]) and np.array_equal(made["p"], made["t"])


def test_volumes_of_particles_come_from_their_own_halves(
    command: Command, finished_run: Path, tmp_path: Path, halves: dict[int, list[int]]
) -> None:
    first, second = halves[1][0], halves[2][0]
    both = command("volumes", finished_run, "-o", tmp_path / "both", "--particles", f"{first},{second}")
    assert both.code == 0, both.err
    alone = command("volumes", finished_run, "-o", tmp_path / "alone", "--particles", second, "--half", 2)
    assert alone.code == 0, alone.err
    assert np.array_equal(volumes_in(tmp_path / "both")[1], volumes_in(tmp_path / "alone")[0])
    other = command("volumes", finished_run, "-o", tmp_path / "other", "--particles", second, "--half", 1)
    assert other.code == 2 and f"particle {second}" in other.error_line()


def test_volumes_of_particles_are_asked_for_in_full(command: Command, finished_run: Path, tmp_path: Path) -> None:
    outcome = command("volumes", finished_run, "--axis", 1, "--nearest", 50, "-o", tmp_path / "v")
    assert outcome.code == 2 and "--from-particles [volumes.nearest]" in outcome.error_line()
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize(
    ("options", "identifier"),
    [
        ((), "volumes.what"),
        (("--axis", 1, "--particles", 0), "volumes.what"),
        (("--axis", 7), "volumes.axis"),
        (("--axis", 0), "volumes.axis"),
        (("--axis", -1), "volumes.axis"),
        (("--particles", "a"), "usage.particles"),
    ],
)
def test_volumes_want_one_thing_that_exists(
    command: Command, finished_run: Path, tmp_path: Path, options: tuple[object, ...], identifier: str
) -> None:
    outcome = command("volumes", finished_run, "-o", tmp_path / "v", *options)
    assert outcome.code == 2, outcome.err
    assert "expected" in outcome.error_line() and outcome.error_line().endswith(f"[{identifier}]")
    assert not list(tmp_path.glob("v/*"))
