"""Laws of what is said of a resolution: no loss is sold as a gain, and where the images end, that is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dynaflex.report.facts.resolution import Nyquist, docking_sentence, resolution_sentence, resolution_tiles

Curves = Callable[..., dict[str, object]]
NYQUIST = 6.0
"""Where the last shell of the curves lies, Å."""
IMAGES = {"pixel_size": 3.0, "box": 64}


def said(fsc: dict[str, Any]) -> str:
    return resolution_sentence(fsc, IMAGES, shared=False)


def compared(fsc_curves: Curves, before: float, after: float) -> dict[str, Any]:
    return {"rigid": fsc_curves(7, before), "deformed": fsc_curves(6.5, after)}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (NYQUIST, "6.00 Å, the Nyquist limit of the images"),
        (6.2, "6.20 Å, close to the Nyquist limit of the images, 6.00 Å"),
        (6.6, "6.60 Å"),
    ],
)
def test_the_limit_is_named_beside_what_lies_at_it(found: float, words: str, fsc_curves: Curves) -> None:
    text = said(compared(fsc_curves, 8.43, found))
    assert f"at FSC 0.143 to {words}, and at 0.5" in text
    assert ("Nyquist" in text) == ("Nyquist" in words)
    (tile,) = resolution_tiles(compared(fsc_curves, 8.43, found), IMAGES)
    assert ("the Nyquist limit of the images is 6.00 Å" in tile.remark) == ("Nyquist" in words)


def test_maps_in_a_smaller_box_have_a_limit_of_their_own(fsc_curves: Curves) -> None:
    fsc = compared(fsc_curves, 8.43, NYQUIST)
    assert Nyquist.of(fsc, {"pixel_size": 2.0}).beside(NYQUIST) == ", the Nyquist limit of the maps"  # type: ignore[union-attr]
    assert Nyquist.of(fsc, {}) == Nyquist.of(fsc, IMAGES)


def test_two_maps_at_the_limit_are_told_apart_where_it_moves(fsc_curves: Curves) -> None:
    part = compared(fsc_curves, 6.38, 6.11)
    text = said({**compared(fsc_curves, NYQUIST, NYQUIST), "moving_part": part})
    assert "no map can get further; in the part that moves it is 6.38 → 6.11 Å, close to the Nyquist" in text
    assert "no better" not in text
    text = said({**compared(fsc_curves, 7.5, 7.5), "moving_part": part})
    assert "no better than the rigid control at 7.50 Å; in the part that moves it is 6.38 → 6.11 Å" in text


def test_a_loss_close_to_the_limit_names_it_for_both(fsc_curves: Curves) -> None:
    text = said(compared(fsc_curves, 6.14, 6.2))
    assert "no better than the rigid control at 6.14 Å, close to the Nyquist limit of the images" in text


@pytest.mark.parametrize("frequency", [[], None, [0.0], "high", [0.0, None]])
def test_a_limit_that_is_not_known_is_not_named(frequency: object, fsc_curves: Curves) -> None:
    fsc = compared(fsc_curves, 8.43, NYQUIST)
    fsc["deformed"]["frequency"] = frequency
    assert Nyquist.of(fsc, IMAGES) is None and "Nyquist" not in said(fsc)
    assert next(iter(resolution_tiles(fsc, IMAGES))).value == "8.43 → 6.00 Å"


def docked(angle: float, shift: float, finest: float | None = 5.0) -> dict[str, object]:
    found = {"angle": angle, "angle_error": 0.2, "shift": shift, "shift_error": 0.1}
    return {
        "moving_part": {"deformed": {"resolution": {"0.143": 6.0}}},
        "docked_part": {**found, "deformed": {"resolution": {"0.143": finest}}},
    }


def test_how_far_apart_the_halves_rest_is_said_with_its_error() -> None:
    alike = docking_sentence(docked(0.3, 0.2))
    assert "rests alike" in alike and "0.3 ± 0.2 degrees" in alike and "0.2 ± 0.1 Å" in alike and "5.00" not in alike
    turned = docking_sentence(docked(2.0, 0.2))
    assert "2.0 ± 0.2 degrees" in turned and "to 5.00 Å" in turned and "stand to 6.00 Å" in turned
    assert "no resolution of the map" in turned
    assert "0.143" not in docking_sentence(docked(2.0, 1.0, None))
    for missing in ({}, {"moving_part": {}}, {"moving_part": {}, "docked_part": {"angle": 1.0}}):
        assert docking_sentence(missing) == ""
