"""How well a method recovered a known motion: CryoBench-style metrics as functions of arrays.

A latent space and a conformation have no natural origin: every coordinate system of the latents and every choice of
consensus conformation is as good as any other. The scores ignore both choices.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import roma
import torch
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor

from dynaflex.shapes import Array, FloatArray, Tensor
from dynaflex.validate.fsc import fourier_shell_correlation

FOLDS = 5


def knn_r2(latents: Array | FloatArray, coordinate: Array, neighbours: int = 20, seed: int = 0) -> Array:
    """How much of each true coordinate ``(p c)`` the neighbours in latent space ``(p k)`` predict, ``(c)``.

    The coefficient of determination of a k-nearest-neighbour regression, each particle predicted from other folds only.
    1: particles with equal latents have equal conformations; about 0: the latents know nothing.
    """
    fewest = len(latents) - -(-len(latents) // FOLDS)
    predicted = _cross_predict(KNeighborsRegressor(min(neighbours, fewest)), latents, coordinate, seed)
    residual = np.square(predicted - coordinate).sum(axis=0)
    return np.asarray(1.0 - residual / np.square(coordinate - coordinate.mean(axis=0)).sum(axis=0))


def linear_r(latents: Array | FloatArray, coordinate: Array, seed: int = 0) -> Array:
    """The correlation of each true coordinate ``(p c)`` with its cross-validated linear prediction from the latents
    ``(p k)``, ``(c)``: 1 where a straight axis of latent space is the coordinate."""
    predicted = _cross_predict(LinearRegression(), latents, coordinate, seed)
    pairs = zip(predicted.T, coordinate.T, strict=True)
    return np.array([np.corrcoef(guess, true)[0, 1] for guess, true in pairs])


def variance_explained(predicted: Array | FloatArray, true: Array) -> float:
    """The fraction of the variance of the true displacements ``(b n 3)`` that the predicted ones ``(b n 3)`` explain.

    Each point's mean over the particles is taken off both, because the consensus conformation is free. 1 for the truth,
    0 for no motion, negative for a motion worse than none.
    """
    predicted, true = (values - values.mean(axis=0) for values in (predicted, true))
    return float(1.0 - np.square(predicted - true).sum() / np.square(true).sum())


def motion_slope(predicted: Array | FloatArray, true: Array) -> float:
    """The slope of the predicted displacements ``(b n 3)`` on the true ones ``(b n 3)``, means taken off.

    1: all of the true motion is in the prediction, whatever else is; 0.5: particles go half as far as they should.
    """
    predicted, true = (values - values.mean(axis=0) for values in (predicted, true))
    return float((predicted * true).sum() / np.square(true).sum())


def rms_displacement(displacement: Array | FloatArray) -> float:
    """The root-mean-square distance in Å of the points of ``(b n 3)`` from their own mean over the particles."""
    centered = displacement - displacement.mean(axis=0)
    return float(np.sqrt(np.square(centered).sum(axis=-1).mean()))


def rotation_slope(points: Array, displacement: Array | FloatArray, axis: Array, angle: Array) -> float:
    """The slope of the fitted rotation angle of a domain against the true ``angle`` ``(b)``, about the unit ``axis``.

    For every particle the rotation is that of the rigid motion which best takes ``points`` ``(n 3)`` to where
    ``displacement`` ``(b n 3)`` puts them. 1: the domain turns as it truly does; 0: it is only translated.
    """
    start = torch.tensor(points, dtype=torch.float64)
    end = start + torch.tensor(displacement, dtype=torch.float64)
    rotation, _ = roma.rigid_points_registration(start.expand_as(end), end)
    fitted = roma.rotmat_to_rotvec(rotation).numpy() @ axis
    return float(np.polyfit(angle, fitted, 1)[0])


def mean_fsc(volume: Tensor, truth: Tensor, mask: Tensor | None = None) -> float:
    """The FSC of two maps ``(d d d)`` within a mask, averaged over the shells from 1 to Nyquist."""
    return float(fourier_shell_correlation(volume, truth, mask)[1:].mean())


def masked_correlation(volume: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Pearson's correlation of two maps ``(d d d)``, voxels weighted by ``mask``."""
    weights = mask.double() / mask.double().sum()
    first, second = (values.double() - (values.double() * weights).sum() for values in (volume, truth))
    power = (first.square() * weights).sum() * (second.square() * weights).sum()
    return float((first * second * weights).sum() / power.sqrt())


def best_matching_state(
    volume: Tensor,
    render: Callable[[Array], Tensor],
    limits: Sequence[tuple[float, float]],
    mask: Tensor,
    steps: int = 9,
    rounds: int = 6,
) -> Array:
    """The conformation ``(c)`` whose map correlates best with ``volume`` inside ``mask``.

    ``render`` makes the map ``(d d d)`` of a conformation and ``limits`` bound each coordinate. All ``steps`` per
    coordinate are tried, then the neighbourhood of the best is halved ``rounds`` times.
    """
    low, high = np.array(limits, dtype=np.float64).T
    spacing = (high - low) / (steps - 1)
    scores: dict[tuple[float, ...], float] = {}

    def score(state: tuple[float, ...]) -> float:
        if state not in scores:
            scores[state] = masked_correlation(volume, render(np.array(state)), mask)
        return scores[state]

    lattice = [np.linspace(a, b, steps) for a, b in zip(low, high, strict=True)]
    best = max(itertools.product(*lattice), key=score)
    for _ in range(rounds):
        spacing = spacing / 2.0
        around = [np.clip(best[i] + spacing[i] * np.array([-1, 0, 1]), low[i], high[i]) for i in range(len(best))]
        best = max(itertools.product(*around), key=score)
    return np.array(best)


def gap_closed(rigid: float, method: float, ideal: float) -> float:
    """The part of the way from the rigid score to the ideal one that the method went; NaN where there is no way."""
    return (method - rigid) / (ideal - rigid) if ideal != rigid else float("nan")


def _cross_predict(
    regressor: KNeighborsRegressor | LinearRegression, latents: Array | FloatArray, coordinate: Array, seed: int
) -> Array:
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    predicted: Array = cross_val_predict(regressor, latents, coordinate, cv=folds)
    return predicted.reshape(coordinate.shape)
