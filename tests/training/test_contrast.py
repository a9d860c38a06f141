"""Laws of contrast in training: uneven ice is no motion, and what is found of it is written down and used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynaflex.prepare.images import ParticleImages
from dynaflex.results.reopen import reopened
from dynaflex.results.trained import load_half
from dynaflex.run.directory import Run
from dynaflex.run.files import read_table
from dynaflex.simulation.particles import simulate
from dynaflex.simulation.truth import read_truth

SETTINGS = {"dynamight": ("--epochs", 8, "--gaussians", 60), "flex": ("--epochs", 8)}


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A molecule that does not move, in ice of very uneven thickness."""
    out = tmp_path_factory.mktemp("uneven")
    simulate(out, 240, 32, 6.0, 1.0, "none", contrast_spread=0.3)
    return out


@pytest.fixture(scope="module", params=list(SETTINGS))
def run(
    request: pytest.FixtureRequest, uneven: Path, command: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp(request.param) / "run"
    files = (uneven / "particles.star", "--map", uneven / "consensus.mrc", "--mask", uneven / "mask.mrc")
    ended = command(request.param, *files, "-o", path, *SETTINGS[request.param], "--until", "train")
    assert ended.code == 0, ended.err
    return path


def test_contrast_is_found_and_latents_do_not_follow_it(run: Path, uneven: Path) -> None:
    truth = read_truth(uneven / "truth.npz")
    for half in (1, 2):
        trained = load_half(Run.open(run), half)
        true = np.log(truth.contrast[trained.rows.numpy()])
        assert np.corrcoef(true, trained.contrast.log().numpy())[0, 1] > 0.95
        latents = np.column_stack([np.ones(len(true)), trained.latents.mean.numpy()])
        left = true - latents @ np.linalg.lstsq(latents, true, rcond=None)[0]
        chance = trained.latents.mean.shape[1] / len(true)
        assert 1.0 - left.var() / true.var() < chance + 0.1


def test_it_is_a_column_of_the_table_and_a_factor_of_what_maps_are_made_from(run: Path, uneven: Path) -> None:
    opened = Run.open(run)
    star = read_table(opened)
    column = next(block["dynaflexContrast"] for block in star.blocks.values() if "dynaflexContrast" in block)
    trained = load_half(opened, 1)
    np.testing.assert_allclose(column.to_numpy(float)[trained.rows], trained.contrast, atol=1e-4)
    inputs = reopened(opened)
    own = inputs.particles.take(inputs.members(1))
    plain, seen = (
        ParticleImages(own, inputs.imaging, torch.device("cpu"), contrast=contrast).batch(torch.arange(5)).ctf
        for contrast in (None, trained.contrast)
    )
    torch.testing.assert_close(seen, plain * trained.contrast[:5, None, None])


def test_where_ice_is_even_it_is_the_normalisation_that_is_uneven(command: Callable[..., Any], tmp_path: Path) -> None:
    """Few pixels surround a particle in a small box, so that the noise there is measured to 4 %."""
    simulate(tmp_path / "even", 240, 32, 6.0, 1.0, "none")
    files = [tmp_path / "even" / name for name in ("particles.star", "consensus.mrc", "mask.mrc")]
    ended = command(
        "flex", files[0], "--map", files[1], "--mask", files[2], "-o", tmp_path / "run", "--epochs", 3,
        "--until", "train",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    opened = Run.open(tmp_path / "run")
    found = load_half(opened, 1).contrast.log().numpy()
    inputs = reopened(opened)
    own = inputs.particles.take(inputs.members(1))
    every = torch.arange(len(own))
    divided = own.images(every.numpy()).std(dim=(1, 2)) / inputs.imaging.normalise(own, every).std(dim=(1, 2))
    assert np.corrcoef(found, -divided.log().numpy())[0, 1] > 0.4 and found.std() < 0.06
