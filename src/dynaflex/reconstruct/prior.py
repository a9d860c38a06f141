"""How strong the signal of a map is in each shell, and what that says of a map nobody has seen yet."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dynaflex import fourier
from dynaflex.reconstruct.equations import Equations
from dynaflex.shapes import Tensor

Prior = Callable[[Equations], Tensor]
"""``prior(equations)``: the precision ``(s)`` that is added to the normal operator in every shell, from the right-hand
sides of two halves of the particles and the response to a point."""

LEAST_SIGNAL, MOST_SIGNAL = 1e-3, 1e3
"""Signal-to-noise ratios between which the prior is kept."""


def signal_to_noise_prior(equations: Equations) -> Tensor:
    """One over the power of the signal in every shell, ``(s)``: Wiener's term, in the units of the normal operator.

    The map is taken as a random one whose Fourier coefficients have the variance ``tau²`` of their shell, as in RELION.
    ``tau²`` is what two random halves of *these* particles, those of one half-map, agree on: without motion the
    right-hand sides ``b`` of the halves are ``D V / 2`` each plus noise of their own, so that the mean of ``b_1 b_2*``
    over a shell is ``tau² D² / 4``, free of noise. The other half-map's particles are never asked. ``tau²`` is kept
    between a thousandth and a thousand times the variance ``1 / D`` of the noise in the map. In the one case nothing
    but noise is left, and the prior shrinks it to nothing; in the other it takes a thousandth off the amplitude, and
    still holds what no image shows.

    A molecule fills a few hundredths of its box, and there its power is as many times higher than the box's average,
    which would smooth it away. So ``tau²`` is divided by the part of the box that holds signal, see :func:`occupied`.
    The mean density is a single coefficient, on which two halves may disagree by chance. It is taken to be as strong as
    the first shell, whose waves are longer than a molecule too.
    The Nyquist shell and the corners beyond, which no image shows, are taken to be like the last shell that is seen,
    but to hold no more signal than that has noise: left free, they would ring at the sphere's edge.
    """
    region, ramp = equations.region, equations.ramp
    grid = region.grid
    first, second = (fourier.transform(region.to_volume(half), 3) for half in equations.halves)
    common = fourier.shell_mean((first * second.conj()).real, grid, 3)
    # Coefficients of a transform that is not normalised have the variance tau² box³.
    variance = 4.0 * common / fourier.shell_mean(ramp.response.square(), grid, 3).clamp(min=1e-12) / grid.box**3
    variance[0] = variance[1]
    precision = _bounded(1.0 / variance.clamp(min=1e-30), ramp.of_shells)
    filtered = equations.filtered(equations.right_hand_side, ramp.with_precision(precision))
    return _bounded(precision * occupied(region.to_volume(filtered)), ramp.of_shells)


def _bounded(precision: Tensor, response: Tensor) -> Tensor:
    """The ``precision`` ``(s)`` within its limits, that of the last shell standing for all that is never seen."""
    kept = torch.minimum(torch.maximum(precision, response / MOST_SIGNAL), response / LEAST_SIGNAL)
    kept[-1] = torch.maximum(kept[-2], response[-2])
    return kept


def occupied(volume: Tensor) -> float:
    """The part of a map ``(d d d)`` that holds its signal, from how unevenly its energy is spread.

    For normally distributed values in a part f of the box and none elsewhere, ``(sum v²)² / sum v⁴`` is a third of f.
    """
    energy = volume.double().square()
    return float(3.0 * energy.sum().square() / energy.square().sum().clamp(min=1e-300) / energy.numel())
