from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynaflex.data.halves import assign_halves, halves_digest, held_out, too_few
from dynaflex.errors import InputError

SEEDS = st.integers(-(2**31), 2**63 - 1)


def micrographs(sizes: list[int]) -> pd.DataFrame:
    names = [f"mic{i}" for i, size in enumerate(sizes) for _ in range(size)]
    return pd.DataFrame({"rlnMicrographName": names, "rlnImageName": [f"{i}@x" for i in range(len(names))]})


def test_the_halves_of_the_file_are_kept() -> None:
    table = micrographs([2, 2]).assign(rlnRandomSubset=["1", "2", "2.0", "1.000000"])
    np.testing.assert_array_equal(assign_halves(table, 5, []), [1, 2, 2, 1])


@pytest.mark.parametrize("value", ["0", "3", "nan", "1.5", "x"])
def test_other_values_are_refused(value: str) -> None:
    table = micrographs([2, 2]).assign(rlnRandomSubset=["1", "2", value, "1"])
    with pytest.raises(InputError) as caught:
        assign_halves(table, 5, [], "x.star")
    assert (caught.value.field, caught.value.row, caught.value.file) == ("rlnRandomSubset", 2, "x.star")


@given(st.lists(st.integers(1, 30), min_size=2, max_size=40), SEEDS)
def test_micrographs_stay_whole_and_halves_are_balanced(sizes: list[int], seed: int) -> None:
    """Unless one is so full that whole ones make halves of no use: then images are dealt, and that is told."""
    table, warnings = micrographs(sizes), list[str]()
    half = assign_halves(table, seed, warnings)
    counts = [int((half == number).sum()) for number in (1, 2)]
    if (table.assign(half=half).groupby("rlnMicrographName")["half"].nunique() == 1).all():
        assert abs(counts[0] - counts[1]) <= max(sizes)
        assert min(counts) >= 0.45 * sum(sizes) or abs(counts[0] - counts[1]) <= 1
    else:
        assert abs(counts[0] - counts[1]) <= 1
        assert len(warnings) == 2 and "per image" in warnings[1] and f"holds {max(sizes)}" in warnings[1]


@given(st.integers(3, 8), st.integers(10, 60), SEEDS)
def test_a_full_micrograph_is_no_reason_to_split_where_whole_ones_can_be_even(few: int, size: int, seed: int) -> None:
    """However late the full one is drawn: it is as full as all others together."""
    table, warnings = micrographs([size] * few + [few * size]), list[str]()
    half = assign_halves(table, seed, warnings)
    assert (table.assign(half=half).groupby("rlnMicrographName")["half"].nunique() == 1).all()
    assert (half == 1).sum() == (half == 2).sum() and len(warnings) == 1


@pytest.mark.parametrize("sizes", [[112, 8], [1, 1, 400], [60, 40], [200, 30, 30, 30]])
def test_halves_of_no_use_are_not_drawn(sizes: list[int]) -> None:
    for seed in range(5):
        half = assign_halves(micrographs(sizes), seed, [])
        assert abs(int((half == 1).sum()) - int((half == 2).sum())) <= 1


@pytest.mark.parametrize(("first", "batch_size", "left"), [(3, 16, 3), (20, 16, 20), (50, 40, 50)])
def test_a_half_without_two_batches_is_told_before_any_training(first: int, batch_size: int, left: int) -> None:
    half = np.array([2] * first + [1] * (200 - first))
    none = np.zeros(200, dtype=bool)
    error = too_few(half, none, (1, 2), batch_size, "x.star")
    assert error is not None and (error.identifier, error.found) == ("halves.too-few", left)
    assert "half 2" in str(error) and "--batch-size" in str(error)
    assert too_few(half, none, (1, 2), left // 2, "x.star") is None
    assert too_few(half, none, (0,), batch_size, "x.star") is None, "one model of all particles has enough"
    assert too_few(half, half == 2, (1, 2), 1, "x.star") is not None, "what is held out does not train"


@given(st.lists(st.integers(1, 9), min_size=2, max_size=20), SEEDS)
def test_the_order_of_the_rows_does_not_matter(sizes: list[int], seed: int) -> None:
    table = micrographs(sizes)
    order = np.random.default_rng(abs(seed)).permutation(len(table))
    np.testing.assert_array_equal(assign_halves(table.iloc[order], seed, []), assign_halves(table, seed, [])[order])


def test_the_seed_decides() -> None:
    table = micrographs([3] * 50)
    np.testing.assert_array_equal(assign_halves(table, 1, []), assign_halves(table, 1, []))
    assert (assign_halves(table, 1, []) != assign_halves(table, 2, [])).any()


def test_copies_of_an_image_stay_together_without_micrographs() -> None:
    table = pd.DataFrame({"rlnImageName": [f"{i}@x" for i in range(50)] * 2})
    half = assign_halves(table, 0, [])
    np.testing.assert_array_equal(half[:50], half[50:])
    assert abs(int((half == 1).sum()) - 50) <= 2


def test_one_micrograph_is_split_by_image() -> None:
    half = assign_halves(micrographs([10]), 0, [])
    assert (half == 1).sum() == 5


def test_the_digest_is_of_the_assignment_not_of_its_order() -> None:
    rows, half = np.arange(20), np.arange(20) % 2 + 1
    order = np.random.default_rng(0).permutation(20)
    digest = halves_digest(half, rows)
    assert halves_digest(half[order], rows[order]) == digest
    half[3] = 3 - half[3]
    assert halves_digest(half, rows) != digest
    assert halves_digest(half[1:], rows[1:]) != digest


@given(SEEDS)
def test_holding_out_looks_at_nothing_but_the_particle(seed: int) -> None:
    rows, half = np.arange(200), np.arange(200) % 2 + 1
    chosen = held_out(rows, half, 0.3, seed)
    one = half == 1
    np.testing.assert_array_equal(held_out(rows[one], half[one], 0.3, seed), chosen[one])
    np.testing.assert_array_equal(held_out(rows[::-1], half[::-1], 0.3, seed), chosen[::-1])
    # A larger fraction only adds particles.
    assert (held_out(rows, half, 0.5, seed) >= chosen).all()


def test_the_fraction_is_held_out_without_pattern() -> None:
    rows, half = np.arange(100_000), np.arange(100_000) % 2 + 1
    chosen = held_out(rows, half, 0.1, 7)
    for part in (half == 1, half == 2, rows % 10 == 3, rows < 50_000):
        assert abs(chosen[part].mean() - 0.1) < 5 * np.sqrt(0.09 / part.sum())
    assert np.corrcoef(chosen[:-1], chosen[1:])[0, 1] < 0.02
    assert abs(np.corrcoef(chosen, held_out(rows, half, 0.1, 8))[0, 1]) < 0.02
    assert not held_out(rows, half, 0.0, 7).any()
    assert held_out(rows, half, 1.0, 7).all()
