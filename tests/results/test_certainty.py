"""Laws of what is said about the error of displacements: intervals hold the truth as often as they say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from dynaflex.deformation.base import Deformation, Moves
from dynaflex.density.gaussians import GaussianDensity
from dynaflex.errors import UsageError
from dynaflex.grid import Grid
from dynaflex.latents.posterior import Normal
from dynaflex.latents.prior import GAUSSIAN
from dynaflex.latents.table import LatentTable
from dynaflex.model import FlexModel
from dynaflex.results import certainty
from dynaflex.results.certainty import DisplacementErrors, displacement_errors
from dynaflex.results.motion import spread
from dynaflex.results.trained import TrainedHalf
from dynaflex.run.directory import Run
from dynaflex.run.files import StoredMotion
from dynaflex.shapes import Tensor

PARTICLES, POINTS, LATENTS, PIXELS = 3000, 20, 2, 40


class Linear(Deformation):
    """Moves the n points that it knows by ``slopes`` ``(k n 3)`` times the latents, whatever their places."""

    def __init__(self, slopes: Tensor) -> None:
        super().__init__()
        self.slopes = slopes

    def at(self, points: Tensor) -> Moves:
        return lambda latents: torch.einsum("bk,kni->bni", latents, self.slopes)


def half_of(number: int, slopes: Tensor, latents: Normal) -> TrainedHalf:
    ones = torch.ones(1)
    table = LatentTable(1, LATENTS, torch.Generator().manual_seed(0))
    model = FlexModel(GaussianDensity(torch.zeros(4, 3), ones, ones), Linear(slopes), table, Grid(32, 4.0))
    return TrainedHalf(number, model, torch.arange(len(latents.mean)), latents, ones, ones, ones, ones)


@dataclass(frozen=True)
class Toy:
    """Images ``optics z + noise`` of linear motion ``motion z``: posteriors are normal, and known in closed form.

    Each half has a decoder that errs by ``wrong`` Å per unit of z; ``louder`` is the true width of the noise over the
    one that posteriors are made with.
    """

    wrong: float
    louder: float

    def posterior(self, latents: Tensor, images: Tensor, optics: Tensor) -> Normal:
        curvature = optics.T @ optics + torch.eye(LATENTS)
        mean = images @ optics @ torch.linalg.inv(curvature)
        return Normal.around(mean, curvature.expand(len(latents), -1, -1))

    def intervals(self) -> tuple[Tensor, DisplacementErrors, float]:
        generator = torch.Generator().manual_seed(5)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        latents, optics, motion = draw(PARTICLES, LATENTS), draw(PIXELS, LATENTS), draw(LATENTS, POINTS, 3)
        images = latents @ optics.T + self.louder * draw(PARTICLES, PIXELS)
        truth = torch.einsum("bk,kni->bni", latents, motion)
        slopes = [motion + self.wrong * draw(LATENTS, POINTS, 3) for _ in range(2)]
        whole = [half_of(n, s, self.posterior(latents, images, optics)) for n, s in enumerate(slopes, 1)]
        sides = [slice(None, None, 2), slice(1, None, 2)]
        apart = [
            half_of(n, s, self.posterior(latents, images[:, side], optics[side]))
            for n, (s, side) in enumerate(zip(slopes, sides, strict=True), 1)
        ]
        points = torch.zeros(POINTS, 3)
        moved, moved_apart = (
            [one.displacements(one.latents.mean, points) for one in both] for both in (whole, apart)
        )  # fmt: skip
        expected = sum(
            certainty.carried_variance(
                one, one.latents.mean, certainty.noise_covariance(one.latents, GAUSSIAN), points
            )
            for one in apart
        )  # fmt: skip
        factor = certainty.unit_variance(
            moved[0] - moved[1], moved_apart[0] - moved_apart[1], torch.as_tensor(expected)
        )
        decoder = certainty.decoder_error(spread([moved[0] - moved[1]]))
        error = certainty.displacement_error(whole[0], whole[0].latents, points, decoder, factor)
        return truth, DisplacementErrors(moved[0].numpy(), error.numpy()), factor


@pytest.mark.parametrize("wrong", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("louder", [1.0, 2.0])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_hold_the_truth_as_often_as_they_say(wrong: float, louder: float, level: float) -> None:
    truth, found, _ = Toy(wrong, louder).intervals()
    low, high = found.interval(level)
    held = ((low < truth.numpy()) & (truth.numpy() < high)).mean()
    assert held == pytest.approx(level, abs=0.06)


@pytest.mark.parametrize("louder", [1.0, 2.0])
def test_noise_that_posteriors_do_not_know_of_is_found(louder: float) -> None:
    assert Toy(0.1, louder).intervals()[2] == pytest.approx(louder**2, rel=0.1)


def test_what_posteriors_overstate_is_left_to_them() -> None:
    assert Toy(0.1, 0.5).intervals()[2] == 1.0


def test_latents_that_hang_together_are_carried_together() -> None:
    """Two coordinates that move alike, and whose sum is known: nothing is unsure but what nobody sees."""
    slopes = torch.ones(LATENTS, POINTS, 3)
    curvature = 1e4 * torch.ones(1, LATENTS, LATENTS) + torch.eye(LATENTS)
    latents = Normal.around(torch.zeros(1, LATENTS), curvature)
    half = half_of(1, slopes, latents)
    carried = certainty.carried_variance(half, latents.mean, latents.covariance, torch.zeros(POINTS, 3))
    assert float(carried.max()) < 1e-3
    alone = certainty.carried_variance(half, latents.mean, torch.diag_embed(latents.log_scale.mul(2).exp()), carried[0])
    assert float(alone.min()) > 0.9


def test_an_interval_is_as_wide_as_its_level() -> None:
    found = DisplacementErrors(np.zeros((1, 1, 3), np.float32), np.full((1, 1, 3), 2.0, np.float32))
    low, high = found.interval(0.6827)
    np.testing.assert_allclose([low, high], [np.full((1, 1, 3), -2.0), np.full((1, 1, 3), 2.0)], rtol=1e-3)


def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, decoder: float) -> DisplacementErrors:
    """What is said about two points, each beside one of two landmarks, the second of which errs twice as much."""
    latents = Normal.around(torch.tensor([[1.0, 0.0], [3.0, 0.0]]), 1e8 * torch.eye(2).expand(2, -1, -1))
    half = half_of(1, torch.ones(2, 2, 3), latents)
    landmarks = np.array([[0, 0, 0], [50, 0, 0]], np.float32)
    errors = decoder * np.array([[1.0], [2.0]]) * np.ones((2, 3))
    none = np.zeros(2, np.float32)
    motion = StoredMotion(
        landmarks, none, landmarks, none, none, none, none, errors.astype(np.float32), np.float32(1.0), none, none
    )
    monkeypatch.setattr(certainty, "read_motion", lambda _: motion)
    return displacement_errors(Run(tmp_path), half, landmarks[::-1] + np.float32(3.0), [1])


def test_a_point_errs_as_the_landmark_beside_it_and_moves_less_the_mean(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = asked(monkeypatch, tmp_path, 0.3)
    np.testing.assert_allclose(found.error[0, :, 0], [0.6, 0.3], rtol=1e-3)
    np.testing.assert_allclose(found.displacement, 1.0, rtol=1e-5)


def test_where_nothing_tells_the_error_none_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        asked(monkeypatch, tmp_path, float("nan"))
    assert caught.value.identifier == "displacements.no-error"
