"""Laws of a run on another device: it ends where the CPU ends, and nothing lies in the wrong place on the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaflex.io.mrc import read_map
from dynaflex.run.directory import Run
from dynaflex.simulation.particles import simulate
from pretended import NAME

Command = Callable[..., Any]
TESTS = Path(__file__).parents[1]
SMALL: list[object] = ["--batch-size", 10, "--held-out-fraction", 0.2]
OPTIONS: dict[str, list[object]] = {
    "flex": ["--epochs", 4, "--cells", 6, "--width", 16, "--layers", 2, "--latent-dim", 2],
    "dynamight": ["--epochs", 3, "--gaussians", 60, "--width", 16, "--layers", 2, "--latent-dim", 2, "--refine-poses"],
    "multibody": ["--epochs", 3, "--cells", 6],
}
MOST_WAITS = {"dynamight": 7.0, "flex": 13.0}
"""How often an update of a training waits for the device, a batch on its way there included. Of the waits of 3DFlex two
are those of the reference's rigidity."""


@pytest.fixture(scope="session")
def tiny(made_once: Callable[..., Path]) -> Path:
    return made_once("tiny", lambda folder: simulate(folder, 80, 24, 8.0, 1.0, "hinge", 0))


def test_it_refuses_what_a_gpu_refuses_and_computes_what_the_cpu_does() -> None:
    """In a process of its own: a device that torch has been told of stays known to it."""
    done = python("pytest", TESTS / "pretended" / "laws.py", "-n", 0)
    assert done.returncode == 0, done.stdout


def there(waits: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command where there is a pretended device."""
    return python("pretended.program", waits, *arguments)


def python(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(TESTS), *sys.path])
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def results(run: Path) -> dict[str, np.ndarray]:
    """Maps, latents and models of a run."""
    found = {path.stem: read_map(path).data for path in run.glob("maps/*.mrc")}
    for series in ("half1", "latents2"):
        loaded = Run.open(run).load_checkpoint(series)
        assert loaded is not None
        found |= {f"{series}.{name}": value.double().numpy() for name, value in loaded[0].items()}
    return found


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    product = float((one * other).sum()), float((one**2).sum()), float((other**2).sum())
    return 1.0 if product[1] == product[2] == 0.0 else product[0] / max((product[1] * product[2]) ** 0.5, 1e-30)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["flex", "dynamight"])
def test_a_training_there_is_the_training_here(
    method: str, tiny: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared(method, tiny, command, tmp_path, monkeypatch, "train")


@pytest.mark.slow
@pytest.mark.parametrize("method", OPTIONS)
def test_a_whole_run_there_is_the_run_here(
    method: str, tiny: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = compared(method, tiny, command, tmp_path, monkeypatch, "report")
    assert (run / "report.html").exists()
    validated = there(tmp_path / "waits.json", "validate", run, "--device", NAME, "--json", "--most", 40)
    assert validated.returncode in (0, 1) or "[validate.too-few]" in validated.stderr, validated.stderr


def compared(
    method: str, tiny: Path, command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, until: str
) -> Path:
    """A run on the pretended device, stopped on the way and resumed, that ended like one of the CPU."""
    monkeypatch.setenv("DYNAFLEX_KERNELS", "reference")
    files = [tiny / "particles.star", "--map", tiny / "consensus.mrc", "--mask", tiny / "mask.mrc"]
    files += ["--segments", tiny / "segments.mrc"] if method == "multibody" else []
    options = [*files, *OPTIONS[method], *SMALL, "-o"]
    outcome = command(method, *options, folder / "here", "--until", until, "--threads", 1)
    assert outcome.code == 0, outcome.err
    run, waits = folder / "there", folder / "waits.json"
    trained = there(waits, method, *options, run, "--until", "train", "--device", NAME)
    assert trained.returncode == 0, trained.stderr
    assert json.loads(waits.read_text()), "the device was used"
    # What a run is that was stopped before its last epoch.
    for series in ("half2", "latents2"):
        shutil.rmtree(Run(run).store.series(series)[-1])
    resumed = there(waits, "resume", run, "--until", until, "--device", NAME)
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed after epoch" in resumed.stdout + resumed.stderr
    one, other = results(folder / "here"), results(run)
    assert one.keys() == other.keys()
    far = {name: found for name in one if one[name].size and (found := correlation(one[name], other[name])) < 0.999}
    assert not far
    return run


def test_an_update_hardly_waits_for_the_device(tiny: Path, tmp_path: Path) -> None:
    """Whoever has all its waits again has left the device without work in between."""
    done = python("pretended.updates", tiny, tmp_path / "waits.json")
    assert done.returncode == 0, done.stderr
    counted = json.loads((tmp_path / "waits.json").read_text())
    for method, most in MOST_WAITS.items():
        updates, places = counted[method]
        assert sum(count for count, *_ in places) <= most * updates, places
