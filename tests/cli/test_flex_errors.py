"""What is wrong with the input of ``flex`` is said in one line, before anything is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaflex.io.mrc import write_map

Command = Callable[..., Any]


@pytest.fixture
def flex(few: Path, tmp_path: Path, command: Command) -> Command:
    """``flex("--cells", 6)``: a run that should be refused; what it said, and that it left nothing behind."""

    def run(*options: object, **files: Path) -> str:
        paths = {"mask": few / "mask.mrc", "map": few / "consensus.mrc"} | files
        given = (few / "particles.star", "--map", paths["map"], "--mask", paths["mask"])
        outcome = command("flex", *given, "-o", tmp_path / "run", "--batch-size", 8, *options)
        assert not (tmp_path / "run").exists()
        return f"{outcome.code} {outcome.error_line()}"

    return run


def cube(path: Path, box: int, value: float = 1.0) -> Path:
    write_map(path, np.full((box, box, box), value, dtype=np.float32), 6.0)
    return path


def test_a_mask_of_another_box(flex: Command, tmp_path: Path) -> None:
    said = flex(mask=cube(tmp_path / "mask.mrc", 24))
    assert said.startswith("3 ") and "mask.mrc" in said and "24" in said and "32" in said


def test_a_stationary_mask_of_another_box(flex: Command, tmp_path: Path) -> None:
    said = flex("--stationary", cube(tmp_path / "still.mrc", 24))
    assert said.startswith("3 ") and "still.mrc" in said and "24" in said and "32" in said


def test_a_stationary_mask_that_covers_everything(flex: Command, tmp_path: Path) -> None:
    said = flex("--stationary", cube(tmp_path / "still.mrc", 32))
    assert said.startswith("3 ") and "still.mrc" in said


@pytest.mark.parametrize("box", [34, 64, 25])
def test_a_training_box_that_cannot_be_made(flex: Command, box: int) -> None:
    said = flex("--train-box", box)
    assert said.startswith("2 ") and "32" in said and str(box) in said and "[usage.train-box]" in said


def test_a_mesh_that_is_none(flex: Command, tmp_path: Path) -> None:
    np.savez(tmp_path / "mesh.npz", points=np.zeros((4, 3)))
    said = flex("--mesh", tmp_path / "mesh.npz")
    assert said.startswith("3 ") and "mesh.npz" in said


def test_a_mesh_that_stands_elsewhere(flex: Command, few: Path, tmp_path: Path, command: Command) -> None:
    made = command("mesh", few / "consensus.mrc", "--mask", few / "mask.mrc", "--cells", 6, "-o", tmp_path / "mesh.npz")
    assert made.code == 0, made.err
    with np.load(tmp_path / "mesh.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["vertices"] = arrays["vertices"] + np.float32(80.0)
    np.savez(tmp_path / "moved.npz", **arrays)
    said = flex("--mesh", tmp_path / "moved.npz")
    assert said.startswith("3 ") and "moved.npz" in said and "%" in said and "[mesh.elsewhere]" in said


@pytest.mark.parametrize(("shape", "told"), [((119, 2), "120"), ((120, 1), "--latent-dim 1 [latents.few]")])
def test_latents_that_do_not_fit(flex: Command, tmp_path: Path, shape: tuple[int, int], told: str) -> None:
    np.save(tmp_path / "z.npy", np.random.default_rng(0).normal(size=shape))
    for option in ("--latents", "--initial-latents"):
        said = flex(option, tmp_path / "z.npy")
        assert said.startswith("3 ") and "z.npy" in said and told in said


@pytest.mark.parametrize(
    ("option", "value"), [("--start", "guess"), ("--prior", "flat"), ("--inference", "magic"), ("--half-sets", "mixed")]
)
def test_a_choice_that_there_is_not(few: Path, tmp_path: Path, command: Command, option: str, value: str) -> None:
    files = (few / "particles.star", "--map", few / "consensus.mrc", "-o", tmp_path / "run")
    assert repr(value) in command("flex", *files, option, value).refused_choice(option)
    assert not (tmp_path / "run").exists()


def test_an_option_that_cannot_be_meant(flex: Command) -> None:
    said = flex("--cells", 1)
    assert said.startswith("2 ") and "--cells" in said and "1" in said
