"""Laws of the leak detector: copies are found however they are stored, and noise of its own is never taken for one."""

from __future__ import annotations

import pytest
import torch

from dynaflex.checking.leaks import COPIED, NOISE, SIMILAR, nearest, overlay, sketch, spread

BOX = 32


def noise(n: int, seed: int, box: int = BOX) -> torch.Tensor:
    return torch.randn(n, box, box, generator=torch.Generator().manual_seed(seed))


def moved(images: torch.Tensor, x: int, y: int, seed: int = 9) -> torch.Tensor:
    """The images cut out again, some pixels further: what was outside is new noise."""
    box = images.shape[-1]
    wide = noise(len(images), seed, box + 2 * max(abs(x), abs(y)))
    margin = max(abs(x), abs(y))
    wide[:, margin : margin + box, margin : margin + box] = images
    return wide[:, margin - y : margin - y + box, margin - x : margin - x + box]


@pytest.mark.parametrize("box", [16, 32, 64])
def test_sketches_are_unit_vectors_that_a_move_and_a_scale_leave_alone(box: int) -> None:
    images = noise(20, 0, box)
    one = sketch(images)
    other = sketch(-3.0 * images.roll((5, -3), dims=(1, 2)) + 7.0)
    assert one.shape[1] > box
    assert torch.allclose(one.norm(dim=1), torch.ones(20)) and torch.allclose(one, other, atol=1e-4)


def test_sketches_of_unlike_images_are_unlike() -> None:
    one, other = sketch(noise(400, 1)), sketch(noise(400, 2))
    assert spread(one, other) == pytest.approx(one.shape[1] ** -0.5, rel=0.1)
    assert spread(one, other) < NOISE < SIMILAR


def test_noise_of_any_colour_is_unlike() -> None:
    """What all images have in common, their power spectrum, makes none of them alike."""
    radius = torch.fft.fftfreq(BOX)[:, None].square() + torch.fft.rfftfreq(BOX)[None, :].square()
    colour = torch.exp(-10.0 * radius)
    one, other = (sketch(torch.fft.irfft2(torch.fft.rfft2(noise(400, seed)) * colour)) for seed in (11, 12))
    assert spread(one, other) == pytest.approx(one.shape[1] ** -0.5, rel=0.1)


def test_the_nearest_is_the_nearest() -> None:
    one, other = sketch(noise(30, 3)), sketch(noise(50, 4))
    likeness, place = nearest(one, other)
    every = one @ other.T
    assert torch.allclose(likeness, every.amax(dim=1)) and torch.equal(place, every.argmax(dim=1))


@pytest.mark.parametrize(("x", "y"), [(0, 0), (1, 0), (-3, 2), (4, 4)])
def test_a_copy_is_found_where_it_was_moved_to(x: int, y: int) -> None:
    images = noise(25, 5)
    correlation, shift = overlay(images, 0.3 * moved(images, x, y) - 2.0)
    assert bool((shift == torch.tensor([x, y])).all())
    common = (1 - abs(x) / BOX) * (1 - abs(y) / BOX)
    assert float(correlation.mean()) == pytest.approx(common, abs=0.07)
    assert float(correlation.min()) > COPIED
    if (x, y) == (0, 0):
        assert torch.allclose(correlation, torch.ones(25), atol=1e-5)
    assert float((sketch(images) * sketch(moved(images, x, y))).sum(dim=1).min()) > SIMILAR


def test_a_copy_of_the_other_contrast_is_a_copy() -> None:
    images = noise(5, 6)
    assert float(overlay(images, -images)[0].min()) > 0.999


def test_noise_of_its_own_stays_below_the_threshold() -> None:
    correlation, _ = overlay(noise(2000, 7), noise(2000, 8))
    assert float(correlation.max()) < 0.75 * COPIED


def test_a_constant_image_is_nobodys_copy() -> None:
    flat, images = torch.ones(3, BOX, BOX), noise(3, 10)
    assert bool(torch.isfinite(sketch(flat)).all())
    assert float(overlay(flat, images)[0].max()) < COPIED and float(overlay(flat, flat)[0].max()) < COPIED
