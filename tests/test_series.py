"""Laws of images of one particle: they stay together, and what they say adds up."""

from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from dynaflex.series import ALONE, Series

COUNTS = st.lists(st.integers(1, 7), min_size=1, max_size=12)


def series_of(counts: list[int]) -> tuple[Series, torch.Tensor]:
    """Of particles with so many images each, and which particle each image shows, in no particular numbers."""
    particle = torch.arange(len(counts)).mul(3).sub(5).repeat_interleave(torch.tensor(counts))
    return Series(particle), particle


@given(COUNTS, st.integers(1, 9))
def test_parts_hold_everything_once_and_tear_no_particle(counts: list[int], size: int) -> None:
    series, particle = series_of(counts)
    parts = series.parts(len(particle), size)
    assert torch.equal(torch.cat(parts), torch.arange(len(particle)))
    shown = [set(particle[part].tolist()) for part in parts]
    assert sum(map(len, shown)) == len(counts)
    assert all(len(part) <= size or len(own) == 1 for part, own in zip(parts, shown, strict=True))
    assert all(len(one) + len(next_one) > size for one, next_one in pairwise(parts))


@given(COUNTS)
def test_what_images_say_of_a_particle_adds_up(counts: list[int]) -> None:
    series, particle = series_of(counts)
    values = torch.arange(float(len(particle))).square()[:, None] * torch.tensor([1.0, -1.0])
    total = torch.stack([part.sum(0) for part in values.split(counts)])
    assert torch.equal(series.total(values), total)
    assert torch.equal(series.shared(values), total.repeat_interleave(torch.tensor(counts), dim=0))
    assert torch.allclose(series.mean(values), series.shared(values) / series.shared(torch.ones_like(values)))
    assert series.count(len(particle)) == len(counts)
    assert torch.equal(series.each(series.one(series.shared(values))), series.shared(values))


@given(COUNTS)
def test_the_images_of_chosen_particles_come_in_their_order(counts: list[int]) -> None:
    series, particle = series_of(counts)
    chosen = torch.randperm(len(counts), generator=torch.Generator().manual_seed(len(counts)))[: len(counts) // 2 + 1]
    expected = torch.cat([(particle == particle.unique()[one]).nonzero()[:, 0] for one in chosen])
    assert torch.equal(series.images_of(chosen), expected)


def test_images_of_their_own_are_left_as_they_are() -> None:
    values = torch.randn(5, 2)
    for series in (ALONE, Series(torch.arange(5))):
        assert series.alone and series.count(5) == 5
        for method in (series.one, series.each, series.total, series.shared, series.mean):
            assert method(values) is values
        assert [part.tolist() for part in series.parts(5, 2)] == [[0, 1], [2, 3], [4]]
