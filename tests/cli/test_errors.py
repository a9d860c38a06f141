"""Laws of failure: one clear line with the file and the facts, the right exit code, and nothing left behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaflex.io.mrc import ImageStack, read_map, write_map, write_stack
from dynaflex.io.star import read_star, write_star

Command = Callable[..., Any]


@pytest.fixture
def data(few: Path, tmp_path: Path) -> Path:
    """A copy of the particles to spoil."""
    shutil.copytree(few, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def start(data: Path, tmp_path: Path, command: Command) -> Command:
    """Start a run on the spoiled data; options replace or add to the usual ones."""

    def run(options: dict[str, object] | None = None) -> Any:
        usual: dict[str, object] = {
            "--map": data / "consensus.mrc",
            "--mask": data / "mask.mrc",
            "-o": tmp_path / "run",
        }
        chosen = {"particles": data / "particles.star", **usual, **(options or {})}
        return command("dynamight", chosen.pop("particles"), *(part for item in chosen.items() for part in item))

    return run


def spoil(data: Path, change: Callable[[Any], Any]) -> None:
    """Replace the particle table by what ``change`` makes of it."""
    star = read_star(data / "particles.star")
    star.blocks["particles"] = change(star.blocks["particles"])
    write_star(star, data / "particles.star")


def crop(path: Path, shape: tuple[int, int, int]) -> None:
    z, y, x = shape
    write_map(path, read_map(path).data[:z, :y, :x], 6.0)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def with_nan(data: Path, image: int) -> None:
    stack = ImageStack.open(data / "particles.mrcs")
    images = stack.read(np.arange(stack.n_images))
    images[image, 3, 4] = np.nan
    write_stack(data / "particles.mrcs", images, 6.0)


# Faults of data are in tests/faults; here are those of a table, a map, a mask and images that check and training share.
MISTAKES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "no map": (lambda d: (d / "consensus.mrc").unlink(), ["consensus.mrc", "No such file"]),
    "no mask": (lambda d: (d / "mask.mrc").unlink(), ["mask.mrc", "No such file"]),
    "no images column": (
        lambda d: spoil(d, lambda t: t.drop(columns="rlnImageName")),
        ["particles.star", "column rlnImageName"],
    ),
    "map of another box": (
        lambda d: crop(d / "consensus.mrc", (24, 24, 24)),
        ["consensus.mrc", "expected 32 voxels", "found 24 voxels", "--new_box 32"],
    ),
    "cut map": (lambda d: cut(d / "consensus.mrc"), ["consensus.mrc", "of 32 sections", "mrc.truncated"]),
    "NaN image": (lambda d: with_nan(d, 116), ["particles.mrcs", "image 117", "NaN", "row 116"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_bad_input_is_named_in_one_line(start: Command, data: Path, tmp_path: Path, mistake: str) -> None:
    make, facts = MISTAKES[mistake]
    make(data)
    outcome = start()
    line = outcome.error_line()
    assert outcome.code == 3, line
    assert str(data) in line
    for fact in facts:
        assert fact in line, line
    assert line.endswith("]"), "the identifier, for scripts"
    assert not (tmp_path / "run").exists(), "what cannot be run leaves no run behind"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_check_finds_it_too(command: Command, data: Path, mistake: str) -> None:
    make, facts = MISTAKES[mistake]
    make(data)
    outcome = command("check", data / "particles.star", "--map", data / "consensus.mrc", "--mask", data / "mask.mrc")
    assert outcome.code == 3
    problems = [line for line in outcome.out.splitlines() if line.startswith("error: ")]
    assert len(problems) == 1
    assert all(fact in problems[0] for fact in facts)


def test_outputs_that_cannot_be_written(start: Command, data: Path, command: Command) -> None:
    """A path below a file cannot be made, not even by root."""
    below = data / "particles.star" / "run"
    for outcome in (start({"-o": below}), start({"-o": "/proc/dynaflex/run"}), command("simulate", below, "--box", 32)):
        line = outcome.error_line()
        assert outcome.code == 4, line
        assert "Fix: choose" in line or "or name another output" in line
        assert ".dynaflex" not in line
    assert str(below) in start({"-o": below}).error_line()


@pytest.mark.parametrize(
    "options",
    [
        {"--batch-size": 0}, {"--epochs": 0}, {"--latent-dim": 0}, {"--gaussians": 1}, {"--classes": 0}, {"--seed": -1},
        {"--shared-resolution": 0}, {"--diameter": -5}, {"--train-box": 2},
    ],
)  # fmt: skip
def test_impossible_options_are_refused_before_anything_is_made(
    start: Command, tmp_path: Path, options: dict[str, object]
) -> None:
    outcome = start(options)
    ((name, value),) = options.items()
    line = outcome.error_line()
    assert outcome.code == 2, line
    assert name in line and str(value) in line and "expected" in line
    assert line.endswith("[usage.range]")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "value", "choices"),
    [
        ("--latents", "guess", "'table', 'encoder'"), ("--until", "never", "'train', 'reconstruct'"),
        ("--graph", "thin", "'dense', 'paper'"), ("--half-sets", "shared", "'independent'"),
        ("--solver", "magic", "'iterative', 'wiener'"),
    ],
)  # fmt: skip
def test_what_is_none_of_the_choices_is_refused_and_they_are_listed(
    start: Command, tmp_path: Path, option: str, value: str, choices: str
) -> None:
    said = start({option: value}).refused_choice(option)
    assert repr(value) in said and choices in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("dynamight",),
        ("frobnicate",),
        ("dynamight", "p.star", "--map", "m.mrc"),
        ("fsc", "a.mrc"),
        ("check", "--colour"),
    ],
)
def test_commands_that_are_not_whole_are_bad_usage(command: Command, arguments: tuple[str, ...]) -> None:
    outcome = command(*arguments)
    assert outcome.code == 2
    assert "Usage" in outcome.err and "Traceback" not in outcome.err


def test_a_device_that_is_not_there_is_a_fault_of_the_machine(start: Command) -> None:
    outcome = start({"--device": "cuda:99"})
    assert outcome.code == 4 and "--device cpu [device.missing]" in outcome.error_line()


def test_a_contour_above_the_map_is_bad_input(start: Command) -> None:
    outcome = start({"--threshold": 1e6})
    assert outcome.code == 3 and all(words in outcome.error_line() for words in ("--threshold", "map.empty-contour"))


def test_debug_adds_the_traceback_and_keeps_the_line(command: Command, tmp_path: Path) -> None:
    missing = tmp_path / "nothing.mrc"
    plain = command("fsc", missing, missing)
    loud = command("fsc", missing, missing, "--debug")
    assert plain.code == loud.code == 3
    assert "Traceback" in loud.err and loud.err.endswith(plain.error_line() + "\n")


def test_what_is_not_a_run_is_bad_input(command: Command, data: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", np.zeros((2, 3)))
    asked = (
        ("volumes", data, "-o", tmp_path / "v", "--axis", 0),
        ("reconstruct", data),
        ("displacements", data, "--points", tmp_path / "points.npy", "--particles", "all", "-o", tmp_path / "d.npz"),
        ("displacements", data, "--points", tmp_path / "points.npy", "--particles", "0", "-o", tmp_path / "d.npz"),
    )
    for arguments in asked:
        outcome = command(*arguments)
        assert outcome.code == 3, outcome.err
        assert str(data) in outcome.error_line() and "not a run" in outcome.err
