"""Do the images agree with the map as their metadata are read, or would another reading of the metadata fit better?

A reading is a way to take what a table says: the shift with the other sign, the rotation transposed, the defocus in
another unit. Each predicts the images, and is judged by how well its predictions correlate with them. Most wrong
readings correlate too, because one blob resembles another, so a correlation means little by itself: readings are
compared with the one as given, particle by particle, and that one with the rows of other particles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from dynaflex import fourier
from dynaflex.checking.slices import CentralSlices
from dynaflex.grid import Grid
from dynaflex.imaging.ctf import CtfParams
from dynaflex.rotations import matrix_to_euler
from dynaflex.shapes import Tensor

SIGNIFICANT = 5.0
"""Standard errors by which one reading must beat another, and a match must beat chance."""
_LIKELY = 3.0
# Two readings are one and the same where their scores differ by less than this fraction of the scores' own spread.
_SAME = 0.02
# Below this shell images differ in background rather than in structure.
_FIRST_SHELL = 2
_INVERT = "add --invert-contrast"


@dataclass(frozen=True)
class Stated:
    """b particles as one reading takes them.

    ``images`` ``(b h w)`` are coefficients on ``grid``; ``after`` and ``before`` are those one place further on and
    one back in the stack. ``pixel_size`` in Å is that of the images on disk. ``rotation`` ``(b 3 3)`` and ``shift``
    ``(b 2)`` in Å are those of :class:`dynaflex.imaging.pose.Pose`, and may be what no pose can be: a mirror.
    ``transfer`` ``(b h w)`` is what ``ctf`` makes of it. ``slices`` shows the map, ``stretch`` times as large.
    """

    grid: Grid
    pixel_size: float
    images: Tensor
    after: Tensor
    before: Tensor
    rotation: Tensor
    shift: Tensor
    ctf: CtfParams
    transfer: Tensor
    slices: CentralSlices
    stretch: float = 1.0

    @property
    def euler(self) -> Tensor:
        """RELION's (rot, tilt, psi) in radians ``(b 3)``."""
        return matrix_to_euler(self.rotation)


@dataclass(frozen=True)
class Reading:
    """Another way to take the metadata: its name, what to do where it is right, and what it makes of them."""

    name: str
    remedy: str
    change: Callable[[Stated], Stated]


@dataclass(frozen=True)
class Score:
    """How a reading fits.

    ``correlation`` is the mean over the particles of the correlation between image and prediction, ``z`` the same in
    standard errors, and ``gain`` the standard errors by which the reading beats the one as given, particle by particle.
    ``same`` says that the two predict the same of these particles.
    """

    name: str
    remedy: str
    correlation: float
    z: float
    gain: float
    same: bool


@dataclass(frozen=True)
class Comparison:
    """The reading as ``given``, all ``others`` from the best to the worst, and what chance gives.

    The ``control`` has the metadata as given, but gives each image the row of another. ``ties`` are those of the
    others that predict the same as the best of them. ``matches`` is False where neither the reading as given nor the
    best of the others beats zero and its own control.
    """

    particles: int
    given: Score
    others: tuple[Score, ...]
    ties: tuple[Score, ...]
    control: Score
    matches: bool

    @property
    def better(self) -> Score | None:
        """The best reading, if it beats the one as given by more than chance allows."""
        found = [score for score in self.others if score.gain > SIGNIFICANT and not score.same]
        return found[0] if found and self.matches else None

    @property
    def perhaps_better(self) -> tuple[Score, ...]:
        """The readings that fit better, but not by enough to be sure."""
        return tuple(s for s in self.others if _LIKELY < s.gain <= SIGNIFICANT and not s.same)

    @property
    def untold(self) -> tuple[Score, ...]:
        """The readings that these particles cannot tell from the one as given: equal to it, or as good."""
        return tuple(score for score in self.others if score.same or abs(score.gain) <= _LIKELY)


def compare(stated: Stated, readings: Sequence[Reading]) -> Comparison:
    """Score the ``readings``, each with both contrasts, against the one as given."""
    judge = _Judge(stated)
    given = judge.correlations(stated)
    candidates = [_Candidate("contrast inverted", _INVERT, _unchanged, -1.0, -given)]
    for reading in readings:
        values = judge.correlations(reading.change(stated))
        candidates.append(_Candidate(reading.name, reading.remedy, reading.change, 1.0, values))
        if not _gain(values, given)[1]:
            name, remedy = f"{reading.name}, contrast inverted", f"{reading.remedy}, and {_INVERT}"
            candidates.append(_Candidate(name, remedy, reading.change, -1.0, -values))
    candidates.sort(key=lambda candidate: -float(candidate.values.mean()))
    control = judge.correlations(_of_another(stated))
    best = candidates[0]
    chance = best.sign * judge.correlations(_of_another(best.change(stated)))
    others = [_score(candidate.name, candidate.remedy, candidate.values, given) for candidate in candidates]
    return Comparison(
        particles=len(given),
        given=_score("as given", "", given, given),
        others=tuple(others),
        ties=tuple(others[i] for i in range(1, len(others)) if _gain(candidates[i].values, best.values)[1]),
        control=_score("the row of another particle", "", control, given),
        matches=_matches(given, control) or _matches(best.values, chance),
    )


@dataclass(frozen=True)
class _Candidate:
    name: str
    remedy: str
    change: Callable[[Stated], Stated]
    sign: float
    values: Tensor


class _Judge:
    """Correlates images with predictions; remembers the map as it is seen in the reading as given."""

    def __init__(self, stated: Stated) -> None:
        self.given = stated
        self.seen = stated.slices.take(stated.rotation, stated.stretch)
        grid = stated.grid
        power = fourier.shell_mean(stated.images.abs().square().mean(dim=0), grid, 2)
        shells = grid.shells(2, stated.images.device)
        used = (shells >= _FIRST_SHELL) & (shells < grid.n_shells - 1)
        white = fourier.hermitian_weights(grid, 2) / fourier.spread_shells(power.clamp(min=1e-30), grid, 2)
        self.weights = white * used

    def correlations(self, reading: Stated) -> Tensor:
        """The correlation of every whitened image with what the reading predicts, ``(b)``."""
        known = reading.rotation is self.given.rotation and reading.stretch == self.given.stretch
        seen = self.seen if known else reading.slices.take(reading.rotation, reading.stretch)
        predicted = fourier.shift(seen * reading.transfer, reading.grid, reading.shift)
        product = (self.weights * (predicted.conj() * reading.images).real).sum((1, 2), dtype=torch.float64)
        norms = [
            (self.weights * t.abs().square()).sum((1, 2), dtype=torch.float64) for t in (predicted, reading.images)
        ]
        return product / (norms[0] * norms[1]).sqrt().clamp(min=1e-30)


def _unchanged(stated: Stated) -> Stated:
    return stated


def _of_another(stated: Stated) -> Stated:
    """Every image with the pose and the CTF of another particle."""
    rolled = {name: getattr(stated, name).roll(1, dims=0) for name in ("rotation", "shift", "transfer")}
    return replace(stated, **rolled)


def _matches(values: Tensor, control: Tensor) -> bool:
    """Whether correlations beat both zero and their control. Where every particle has the same pose and CTF, those of
    another serve as well as its own, and only zero can be beaten."""
    gain, same = _gain(values, control)
    return _z(values) > SIGNIFICANT and (same or gain > SIGNIFICANT)


def _score(name: str, remedy: str, values: Tensor, given: Tensor) -> Score:
    gain, same = _gain(values, given)
    return Score(name, remedy, float(values.mean()), _z(values), gain, same)


def _gain(values: Tensor, given: Tensor) -> tuple[float, bool]:
    """By how many standard errors ``values`` beat those ``given``, and whether the two are the same."""
    difference = values - given
    same = bool(difference.square().mean().sqrt() <= _SAME * given.std())
    return (0.0 if same else _z(difference)), same


def _z(values: Tensor) -> float:
    """The mean of independent values ``(b)`` in its standard errors."""
    return float(values.mean() / values.std().clamp(min=1e-30)) * math.sqrt(len(values))
