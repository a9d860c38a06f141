"""Controls of a motion that was learned: what must hold if it is in the images, and what must not.

Every control is a number against what chance gives, and a verdict made of the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor

from dynaflex.shapes import Array, IntArray, Tensor

PASS, WARN, FAIL = "PASS", "WARN", "FAIL"
BEYOND_DOUBT, SURE, UNSURE = 5.0, 3.0, 1.0
"""Standard errors after which nobody asks again, that settle a question, and that raise one."""
WORTH = 0.2
"""Nats that what moves must be worth to a particle. An image tells less than a third of the variance of a latent that
is worth less, ``1 - exp(-2 nats)``, and that has what no particle shows follow noise beside the motion that it has."""
PERMUTATIONS = 20
_FOLDS, _NEIGHBOURS = 5, 15
_SMALL_LEAK, _LARGE_LEAK = 0.05, 0.25
_AGREEMENT = 0.5
_HALF = 0.5
_QUARTER = 0.25


@dataclass(frozen=True)
class Control:
    """What was asked, the ``verdict``, the ``value`` and its ``unit`` behind it, the value that ``chance`` gives or the
    standard error, and the result in words."""

    name: str
    verdict: str
    value: float
    chance: float
    unit: str
    words: str

    @property
    def has_error(self) -> bool:
        """Whether ``chance`` is a standard error: that of gains in nats, of shares of a density, and of angles."""
        return self.unit.startswith(("nats", "of the", "degrees"))


def mean_and_error(values: Array) -> tuple[float, float]:
    """The mean of values ``(p)`` and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def gain(now: Tensor, before: Tensor) -> tuple[float, float]:
    """By how many nats particles are likelier ``now`` than ``before``, in the mean, and its standard error.

    Both are the log-evidence ``(p)`` of the same particles. What is not finite comes of a model that broke down, which
    is as bad as can be: minus infinity, for sure.
    """
    difference = (now - before).double()
    if not bool(difference.isfinite().all()):
        return -np.inf, 0.0
    return mean_and_error(difference.cpu().numpy())


def must_exceed_zero(name: str, values: Array, unit: str, words: str) -> Control:
    """Whether the mean of values ``(p)`` is larger than zero by three standard errors; one is a warning."""
    mean, error = mean_and_error(values)
    verdict = PASS if mean > SURE * error else WARN if mean > UNSURE * error else FAIL
    return Control(name, verdict, mean, error, unit, words)


def must_vanish(name: str, values: Array, unit: str, words: str) -> Control:
    """Whether the mean of values ``(p)`` is not larger than zero, but for a standard error; three are too much."""
    mean, error = mean_and_error(values)
    verdict = PASS if mean <= UNSURE * error else WARN if mean <= SURE * error else FAIL
    return Control(name, verdict, mean, error, unit, words)


def rest(name: str, angle: float, error: float, displacement: float, resolution: float, words: str) -> Control:
    """Whether a part lies in one place in both halves, as far as maps of both together can tell.

    They lie apart by ``angle`` degrees with a standard ``error``, and by a ``displacement`` in Å, rms over the part.
    Where that is surely no noise and more than a quarter of the finest period that they share, ``resolution`` in Å, it
    is a warning: their mean is blurred.
    """
    blurred = angle > SURE * error and displacement > _QUARTER * resolution
    return Control(name, WARN if blurred else PASS, angle, error, "degrees", words)


def leak(name: str, motion: Array, nuisance: Array, words: str, seed: int = 0) -> Control:
    """Whether the motion ``(p m)`` can be told from what it should not depend on, ``nuisance`` ``(p q)``.

    The value is the cross-validated coefficient of determination of a nearest-neighbour regression, all of the motion
    together; chance, the largest of what permuted particles give. More than 0.05 above chance is a warning, more than
    0.25 a failure.
    """
    found = _predicted_share(nuisance, motion, seed)
    random = np.random.default_rng(seed)
    chance = max(_predicted_share(nuisance[random.permutation(len(motion))], motion, seed) for _ in range(5))
    excess = found - max(chance, 0.0)
    verdict = PASS if excess <= _SMALL_LEAK else WARN if excess <= _LARGE_LEAK else FAIL
    return Control(name, verdict, found, chance, "R²", words)


def group_leak(name: str, motion: Array, group: IntArray, words: str, seed: int = 0) -> Control:
    """Whether the motion ``(p m)`` of a particle can be told from that of the others in its ``group`` ``(p)``.

    Value, chance and verdict as in :func:`leak`; the prediction is the mean of the others. Particles that are alone are
    left out.
    """
    size = np.bincount(group)[group]
    several = size > 1
    motion, group = motion[several], np.unique(group[several], return_inverse=True)[1]
    if len(motion) < 2 * _FOLDS:
        return Control(name, PASS, 0.0, 0.0, "R²", f"{words} (too few particles share one: not tested)")
    random = np.random.default_rng(seed)
    found = _share_from_others(motion, group)
    chance = max(_share_from_others(motion, group[random.permutation(len(group))]) for _ in range(PERMUTATIONS))
    excess = found - max(chance, 0.0)
    verdict = PASS if excess <= _SMALL_LEAK else WARN if excess <= _LARGE_LEAK else FAIL
    return Control(name, verdict, found, chance, "R²", words)


def agreement(name: str, first: Array, second: Array, words: str, seed: int = 0) -> Control:
    """Whether two models see the same motion in the same particles: displacements ``(p n 3)``, each with its own mean.

    The value is the correlation of all of them together; chance, the largest of what permuted particles give. It should
    be at least 0.5, and must be above chance.
    """
    one, two = ((values - values.mean(axis=0)).reshape(len(values), -1) for values in (first, second))
    random = np.random.default_rng(seed)
    chance = max(_correlation(one, two[random.permutation(len(two))]) for _ in range(PERMUTATIONS))
    found = _correlation(one, two)
    verdict = FAIL if found <= chance else PASS if found >= _AGREEMENT else WARN
    return Control(name, verdict, found, chance, "correlation", words)


def density_in_images(name: str, share: Array, error: Array, words: str) -> Control:
    """Whether images have the density of a model: the ``share`` ``(n)`` of it that they have around each of its points.

    The value is the share that a twentieth of the points do not reach. Less than half, by three standard errors, is a
    failure: most of what the model has there is not in the images; by one, a warning.
    """
    worst = np.argsort(share)[(len(share) - 1) // 20]
    verdict = FAIL if share[worst] + SURE * error[worst] < _HALF else PASS
    if verdict == PASS and share[worst] + UNSURE * error[worst] < _HALF:
        verdict = WARN
    return Control(name, verdict, float(share[worst]), float(error[worst]), "of the density", words)


def _correlation(first: Array, second: Array) -> float:
    power = np.sqrt(np.square(first).sum() * np.square(second).sum())
    return float((first * second).sum() / max(power, 1e-300))


def _predicted_share(nuisance: Array, motion: Array, seed: int) -> float:
    scale = nuisance.std(axis=0)
    inputs = (nuisance - nuisance.mean(axis=0)) / np.where(scale > 0.0, scale, 1.0)
    neighbours = min(_NEIGHBOURS, len(motion) // 2)
    folds = KFold(_FOLDS, shuffle=True, random_state=seed)
    predicted = cross_val_predict(KNeighborsRegressor(neighbours), inputs, motion, cv=folds)
    return _share(predicted, motion)


def _share_from_others(motion: Array, group: IntArray) -> float:
    size = np.bincount(group)
    total = np.zeros((len(size), motion.shape[1]))
    np.add.at(total, group, motion - motion.mean(axis=0))
    others = total[group] - (motion - motion.mean(axis=0))
    # Shrunk as far as a group of that size deserves if it tells nothing much: the mean of few is mostly noise.
    return _share(others / size[group][:, None], motion - motion.mean(axis=0))


def _share(predicted: Array, true: Array) -> float:
    spread = np.square(true - true.mean(axis=0)).sum()
    return float(1.0 - np.square(true - predicted).sum() / max(spread, 1e-300))
