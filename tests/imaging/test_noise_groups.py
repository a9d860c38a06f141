"""Laws of noise that differs between optics groups: every image is judged, and weighs, by the noise of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from dynaflex import fourier
from dynaflex.data.particles import Particles
from dynaflex.data.preprocess import circular_mask
from dynaflex.grid import Grid
from dynaflex.imaging.noise import coefficient_weights, log_normaliser, noise_weights
from dynaflex.imaging.noise_groups import SURE, GroupNoise, NoiseKinds
from dynaflex.losses.data import data_loss
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.images import Imaging, ParticleImages, seen_as_on
from dynaflex.reconstruct.iterative import solve
from dynaflex.reconstruct.rigid import rigid_equations
from dynaflex.shapes import FloatArray, Tensor
from swinging import CPU, Ball, white

GRID, DIAMETER = Grid(40, 4.0), 110.0
NUMBERS = torch.tensor([3, 7])


def power_of(group: int, n_shells: int) -> Tensor:
    """White noise in group 3; in group 7 four times as strong at the lowest frequencies, and ever weaker."""
    return torch.ones(n_shells) if group == 3 else 0.3 + 3.7 * torch.exp(-((torch.arange(n_shells) / 5.0) ** 2))


def in_groups(random: np.random.Generator, count: int, box: int) -> FloatArray:
    """The noise of two groups by turns."""
    noise = torch.from_numpy(white(random, count, box))
    grid = Grid(box, 1.0)
    for i, group in enumerate(NUMBERS.tolist()):
        factor = fourier.spread_shells(power_of(group, grid.n_shells).sqrt(), grid, 2)
        noise[i::2] = fourier.inverse_transform(fourier.transform(noise[i::2], 2) * factor, 2)
    return noise.numpy()


@pytest.fixture(scope="module")
def ball() -> Ball:
    return Ball.of(40.0, 0.1)


@pytest.fixture(scope="module")
def particles(ball: Ball, tmp_path_factory: pytest.TempPathFactory) -> Particles:
    found = ball.images(tmp_path_factory.mktemp("groups"), GRID, torch.zeros(600, 1), 0.1, in_groups)
    return replace(found, group=np.tile(NUMBERS.numpy(), 300))


def imaging(box: int = GRID.box) -> Imaging:
    return Imaging(GRID.cropped(box), DIAMETER, 20.0)


def learned(data: HalfSet, predicted: Callable[[ParticleImages, Tensor], Tensor]) -> Tensor:
    """The power of all, once images are seen in the noise that predictions leave."""
    everyone = torch.arange(len(data))
    left = sum(
        len(part) / len(data) * data.power_left(predicted(data, part), data.batch(part)) for part in everyone.split(100)
    )
    assert isinstance(left, torch.Tensor)
    power, noise = data.kinds.noise(data.kinds.power(left, data.noise, everyone), everyone)
    data.see(noise)
    return power


def truth_of(ball: Ball) -> Callable[[ParticleImages, Tensor], Tensor]:
    """What the molecule at rest predicts, on the scale that is nearest to the images."""

    def predicted(images: ParticleImages, index: Tensor) -> Tensor:
        batch, model = images.batch(index), ball.model(images.grid, 1)
        prediction = model.render(ball.points, batch.pose, batch.ctf)
        return prediction * ((prediction.conj() * batch.coefficients).real.sum() / prediction.abs().square().sum())

    return predicted


def test_an_image_is_as_likely_as_in_the_noise_of_its_group_alone(particles: Particles) -> None:
    data, index = HalfSet(particles, 0, imaging(), CPU), torch.arange(8)
    powers = {group: power_of(group, GRID.n_shells) for group in NUMBERS.tolist()}
    everyone = 0.5 * (powers[3] + powers[7])
    plain = data.batch(index)
    predicted = 0.7 * plain.ctf * fourier.transform(torch.randn(GRID.box, GRID.box), 2)
    data.see(GroupNoise(NUMBERS, torch.stack([power / everyone for power in powers.values()])))
    batch = data.batch(index)
    found = data_loss(predicted * batch.ctf / plain.ctf, batch.coefficients, noise_weights(everyone, GRID))
    found = found + data.log_normalisers(everyone, index)
    for i, group in enumerate(particles.group[:8].tolist()):
        own = data_loss(predicted[i], plain.coefficients[i : i + 1], noise_weights(powers[group], GRID))
        assert float(found[i]) == pytest.approx(float(own + log_normaliser(powers[group], GRID)), rel=1e-5)


def test_the_noise_of_each_group_is_found(particles: Particles, ball: Ball) -> None:
    data = HalfSet(particles, 0, imaging(), CPU)
    for _ in range(2):
        power = learned(data, truth_of(ball))
        # Images are normalised: noise is known up to a factor.
        for row, group in enumerate(NUMBERS.tolist()):
            found = (power * data.noise.relative[row] / power_of(group, GRID.n_shells))[1:-1]
            assert float(found.std() / found.mean()) < 0.06
    # Seen in it, both groups have the noise of all.
    left = data.power_left(truth_of(ball)(data, torch.arange(600)), data.batch(torch.arange(600)))
    assert torch.allclose(2.0 * left[:, 1:-1], power[1:-1].expand(2, -1), rtol=0.02)


def test_one_group_is_seen_as_it_is(particles: Particles) -> None:
    data = HalfSet(replace(particles, group=np.ones(600, dtype=np.int64)), 0, imaging(), CPU)
    plain = data.batch(torch.arange(4))
    learned(data, lambda images, index: torch.zeros_like(images.batch(index).coefficients))
    assert not data.noise.differs and torch.equal(data.batch(torch.arange(4)).ctf, plain.ctf)


def test_nothing_depends_on_the_order_of_the_groups(particles: Particles, ball: Ball) -> None:
    found = []
    for numbers in (NUMBERS, NUMBERS.flip(0)):
        group = np.where(particles.group == 3, *numbers.tolist())
        data = HalfSet(replace(particles, group=group), 0, imaging(), CPU)
        power, batch = learned(data, truth_of(ball)), data.batch(torch.arange(6))
        found.append((power, batch.ctf, batch.coefficients, data.log_normalisers(power, torch.arange(6)).float()))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-5)


def test_a_group_of_few_images_is_taken_together_with_others() -> None:
    window = circular_mask(GRID, DIAMETER, 20.0)
    needed = 1.0 / (SURE**2 * 4.0 * float(window.square().mean()))
    many, few = int(1.1 * needed), int(0.6 * needed)
    for counts, kinds, own in (
        ((many, many), 2, [True, True]),
        ((many, few), 2, [True, False]),
        ((many, few, few), 2, [True, True]),
        ((many, many, 3), 3, [True, True, False]),
        ((3, 4), 1, [False]),
        ((3,), 1, [True]),
    ):
        group = np.repeat(10 + np.arange(len(counts)), counts)
        found = NoiseKinds.among(group, np.arange(len(group)), window, GRID)
        assert len(found) == kinds and found.own.tolist() == own
        # Copies of an image by symmetry tell no more of its noise.
        twice = NoiseKinds.among(np.repeat(group, 2), np.repeat(np.arange(len(group)), 2), window, GRID)
        assert twice.own.tolist() == own and len(twice) == kinds


def test_the_law_of_what_is_enough_is_that_of_a_measured_spectrum() -> None:
    window, random = circular_mask(GRID, DIAMETER, 20.0), torch.Generator().manual_seed(0)
    count = round(1.0 / (SURE**2 * 4.0 * float(window.square().mean())))
    coarsest = []
    for _ in range(60):
        noise = fourier.transform(torch.randn(count, GRID.box, GRID.box, generator=random), 2)
        power = fourier.windowed(noise, window, 2).abs().square().mean(dim=0) / window.square().mean()
        coarsest.append(float(fourier.shell_mean(power, GRID, 2)[1]) / GRID.box**2)
    assert 0.5 * SURE < np.std(coarsest) < 1.7 * SURE


def test_a_group_of_too_few_has_the_noise_of_all(particles: Particles, ball: Ball) -> None:
    group = np.where(np.arange(600) < 20, 9, 3)
    data = HalfSet(replace(particles, group=group), 0, imaging(), CPU)
    pooled = HalfSet(replace(particles, group=np.full(600, 3)), 0, imaging(), CPU)
    power, everyone = (learned(one, truth_of(ball)) for one in (data, pooled))
    assert data.kinds.own.tolist() == [True, False]
    assert torch.allclose((power * data.noise.relative[1])[1:-1], everyone[1:-1], rtol=1e-3)


def test_a_map_is_as_good_as_the_noise_of_the_groups_allows(particles: Particles, ball: Ball) -> None:
    """Its error, of images weighed by the noise found, is that by the true noise, and less than by that of all."""
    data = HalfSet(particles, 0, imaging(), CPU)
    power = learned(data, truth_of(ball))
    true = torch.stack([power_of(group, GRID.n_shells) for group in NUMBERS.tolist()])
    scale = [float((power * data.noise.relative[row] / true[row])[1:-1].mean()) for row in (0, 1)]
    each = true * torch.tensor(scale)[:, None]
    ways = {"found": data.noise, "true": GroupNoise(NUMBERS, each / each.mean(dim=0)), "all": GroupNoise()}
    errors = {}
    for way, noise in ways.items():
        images = data.seen_in(noise)

        def batches(images: HalfSet = images, clean: bool = False) -> object:
            for part in torch.arange(600).split(100):
                batch = images.batch(part)
                yield replace(batch, read=lambda part=part: truth_of(ball)(images, part)) if clean else batch

        noisy, clean = (
            solve(rigid_equations(GRID, lambda clean=clean: batches(clean=clean), power), 8) for clean in (False, True)
        )
        wrong = fourier.transform(noisy - clean, 3).abs().square()
        right = fourier.transform(clean, 3).abs().square()
        errors[way] = float((fourier.shell_mean(wrong, GRID, 3) / fourier.shell_mean(right, GRID, 3))[2:12].mean())
    assert errors["found"] == pytest.approx(errors["true"], rel=0.03)
    assert errors["found"] < 0.9 * errors["all"]


def test_weights_of_images_are_inverse_to_the_noise_of_their_group(particles: Particles) -> None:
    data, index = HalfSet(particles, 0, imaging(), CPU), torch.arange(2)
    plain = data.batch(index)
    relative = torch.stack([torch.full((GRID.n_shells,), 0.4), torch.full((GRID.n_shells,), 1.6)])
    data.see(GroupNoise(NUMBERS, relative))
    batch, weights = data.batch(index), coefficient_weights(torch.ones(GRID.n_shells), GRID)
    for seen, before in (
        (batch.ctf.square() * weights, plain.ctf.square() * weights),
        (batch.coefficients * batch.ctf * weights, plain.coefficients * plain.ctf * weights),
    ):
        inside = weights > 0.0
        assert torch.allclose((seen * torch.tensor([0.4, 1.6])[:, None, None])[:, inside], before[:, inside], rtol=1e-4)


def test_noise_that_was_learned_in_a_smaller_box_holds_in_that_of_the_images(particles: Particles, ball: Ball) -> None:
    data, index = HalfSet(particles, 0, imaging(24), CPU), torch.arange(600)
    learned(data, truth_of(ball))
    plain = ParticleImages(particles, imaging(), CPU)
    full = seen_as_on(data.imaging, plain, data.noise)
    # Both groups have one noise, where it was learned and beyond.
    left = truth_of(ball)(full, index) - full.batch(index).coefficients
    powers = torch.stack([fourier.shell_mean(left[i::2].abs().square().mean(dim=0), GRID, 2) for i in (0, 1)])
    assert torch.allclose(powers[0, 1:-1], powers[1, 1:-1], rtol=0.12)
    assert not torch.allclose(powers[0, 1:-1], powers[1, 1:-1] * 1.2, rtol=0.12)
    # An image is to its CTF as it is in the smaller box, but for one factor that all share.
    small, large = data.batch(index), full.batch(index)
    inside = data.grid.shells(2) < data.grid.n_shells - 1
    image, ctf = (fourier.crop_coefficients(one, 24, 2)[:, inside] for one in (large.coefficients, large.ctf))
    one, other = image * small.ctf[:, inside], small.coefficients[:, inside] * ctf
    factor = [float((one[i::2] * other[i::2].conj()).real.sum() / other[i::2].abs().square().sum()) for i in (0, 1)]
    assert factor[0] == pytest.approx(factor[1], rel=0.01)
    assert seen_as_on(data.imaging, plain, GroupNoise()).contrast is plain.contrast
