"""Laws of what is said of the noise of optics groups."""

from __future__ import annotations

from dynaflex.report.facts.noise import noise_rows


def test_groups_of_one_noise_share_a_row_and_halves_are_averaged() -> None:
    one = {"1": [9.0, 1.0, 2.0, 3.0, 9.0], "2": [9.0, 0.5, 0.5, 0.5, 9.0], "5": [9.0, 0.5, 0.5, 0.5, 9.0]}
    two = {"1": [9.0, 2.0, 2.0, 2.0, 9.0]}
    rows = noise_rows({"half1": {"groups": one}, "half2": {"groups": two}})
    assert rows == [("1", "1.50", "2.00", "2.50"), ("2, 5", "0.50", "0.50", "0.50")]


def test_of_many_groups_some_are_named() -> None:
    groups = {str(number): [1.0] * 8 for number in range(20)}
    assert noise_rows({"half1": {"groups": groups}})[0][0].endswith("7 and 12 more")
    assert noise_rows({}) == []
