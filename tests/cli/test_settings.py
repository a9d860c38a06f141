"""Laws of settings: each is declared once, and typed, written to a file or printed it is the same setting."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from dynaflex.cli.settings import as_toml, read_settings
from dynaflex.config import Option, Private, RunConfig, Solver, Stage
from dynaflex.methods.dynamight.config import DynamightConfig
from dynaflex.methods.flex.config import FlexConfig
from dynaflex.pipeline import STAGES
from dynaflex.results.half_maps.made import SOLVERS
from dynaflex.training.installed import method_named, names

Command = Callable[..., Any]
EVERY = [(name, method_named(name).config) for name in names()]
OTHER_VALUES: dict[str, RunConfig] = {
    "dynamight": DynamightConfig(
        seed=7, class_number=2, train_box=48, particle_diameter=120.5, threshold=0.25, invert_contrast=True,
        latent_dim=3, epochs=9, n_gaussians=500, latents="encoder", graph="paper", regularisation=1e-05,
        refine_poses=True, solver="wiener", start="random",
    ),
    "flex": FlexConfig(half_sets="shared", cells=12, rigidity=2.0, prior="wall", stiffen=True, solver="lbfgs"),
}  # fmt: skip


@pytest.mark.parametrize(("method", "config"), EVERY)
def test_every_setting_is_an_option_or_says_why_not(method: str, config: type[RunConfig]) -> None:
    for name, field in config.model_fields.items():
        ways = [one for one in field.metadata if isinstance(one, Option | Private)]
        assert len(ways) == 1, f"{method}: {name}"
        told = field.description if isinstance(ways[0], Option) else ways[0].reason
        assert told and len(told) > 10, f"{method}: {name}"


@pytest.mark.parametrize(("method", "config"), EVERY)
def test_a_command_has_each_option_once_under_its_name(method: str, config: type[RunConfig], command: Command) -> None:
    said = command(method, "--help").out
    for name in config.options():
        assert sum(config.option_name(name) in line.split() for line in said.splitlines()) == 1, name
    for typed in ("--class", "--diameter", "--train-box", "--shared-resolution", "--threshold", "--solver", "--seed"):
        assert typed in said


@pytest.mark.parametrize("method", OTHER_VALUES)
def test_what_is_printed_is_read_as_the_same(method: str, command: Command, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    settings = OTHER_VALUES[method]
    path.write_text(as_toml(settings))
    assert type(settings)(**read_settings(path, type(settings))) == settings
    printed = command(method, "--config", path, "--print-config")
    assert printed.code == 0 and printed.err == ""
    assert printed.out == path.read_text()
    usual = command(method, "--print-config").out
    path.write_text(usual)
    assert command(method, "--print-config", "--config", path).out == usual != as_toml(settings)


def test_what_is_typed_wins_over_the_file_and_the_file_over_the_default(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('cells = 9\nlatent_dim = 4\nstiffen = true\nsolver = "wiener"\n')
    typed = ("--cells", 11, "--no-stiffen", "--rigidity", 1.5)
    printed = tomllib.loads(command("flex", "--config", path, *typed, "--print-config").out)
    expected = {"cells": 11, "latent-dim": 4, "stiffen": False, "solver": "wiener", "rigidity": 1.5, "batch-size": 32}
    assert expected.items() <= printed.items()


def test_a_run_is_made_with_the_settings_of_the_file(few: Path, tmp_path: Path, command: Command) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("epochs = 2\nlatent-dim = 3\ngaussians = 40\n")
    files = (few / "particles.star", "--map", few / "consensus.mrc", "-o", tmp_path / "run")
    assert command("dynamight", *files, "--config", path, "--until", "prepare").code == 0
    stored = (tmp_path / "run" / "config.json").read_text()
    assert '"latent_dim": 3' in stored and '"n_gaussians": 40' in stored and '"epochs": 2' in stored


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("epoch = 3\n", 2, ("'epoch'", "epochs", "config.unknown-key")),
        ("decoder_rate = 0.1\n", 2, ("'decoder_rate'", "config.unknown-key")),
        ('epochs = "3"\n', 2, ("'epochs'", "integer", "config.value")),
        ("epochs = 3.5\n", 2, ("'epochs'", "3.5", "config.value")),
        ("epochs = 0\n", 2, ("'epochs'", "greater", "config.value")),
        ("invert-contrast = 1\n", 2, ("'invert-contrast'", "boolean", "config.value")),
        ('latents = "guess"\n', 2, ("'latents'", "'guess'", "'table' or 'encoder'", "config.value")),
        ("[training]\nepochs = 3\n", 2, ("'training'", "config.unknown-key")),
        ("epochs: 3\n", 3, ("line 1", "--print-config", "config.unreadable")),
        (None, 3, ("No such file", "config.unreadable")),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(
    text: str | None, code: int, words: tuple[str, ...], few: Path, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    if text is not None:
        path.write_text(text)
    files = (few / "particles.star", "--map", few / "consensus.mrc", "-o", tmp_path / "run")
    outcome = command("dynamight", *files, "--config", path)
    line = outcome.error_line()
    assert outcome.code == code and str(path) in line
    assert all(word in line for word in words), line
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_names_the_option_that_is_another(brief_run: Path, few: Path, command: Command) -> None:
    files = (few / "particles.star", "--map", few / "consensus.mrc", "-o", brief_run, "--resume")
    outcome = command("dynamight", *files, "--diameter", 55)
    assert outcome.code == 2 and "option --diameter" in outcome.error_line()


def test_choices_are_what_the_program_knows() -> None:
    assert tuple(SOLVERS) == get_args(Solver) and get_args(Stage) == STAGES
