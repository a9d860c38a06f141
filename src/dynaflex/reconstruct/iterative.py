"""The least-squares map, by conjugate gradients."""

from __future__ import annotations

from itertools import islice

import torch

from dynaflex import fourier
from dynaflex.linear import Linear, conjugate_gradients
from dynaflex.reconstruct.equations import Equations
from dynaflex.reconstruct.field import Region
from dynaflex.reconstruct.prior import Prior
from dynaflex.shapes import Tensor

ITERATIONS = 3


def solve(
    equations: Equations,
    iterations: int = ITERATIONS,
    *,
    band: int | None = None,
    prior: Prior | None = None,
) -> Tensor:
    """The map ``(d d d)`` that minimises [DM 6], from conjugate gradients on the normal operator.

    The filter of backprojection is the preconditioner: it inverts the rigid problem but for the edges of the box, so
    a handful of iterations from zero is enough; the first of them is backprojection, rescaled. Where particles move,
    each iteration sends the voxels to all particles and back.

    With a ``prior``, the solution is the most probable map and more iterations do no harm; with None it is the
    least-squares map, further iterations fit noise, and stopping early is what keeps it out. The prior counts on images
    whose noise has the power that the operator was told. Frequencies above shell ``band`` are held at zero.
    """
    region, normal, ramp = equations.region, equations.normal, equations.ramp
    if prior is not None:
        precision = prior(equations)
        normal, ramp = regularised(normal, region, precision), ramp.with_precision(precision)
    if band is not None:
        ramp = ramp.below(band)
    steps = conjugate_gradients(normal, equations.right_hand_side, lambda v: equations.filtered(v, ramp))
    *_, last = islice(steps, iterations + 1)
    volume = region.to_volume(last.solution)
    return volume if band is None else _limited(volume, region, band)


def regularised(normal: Linear, region: Region, precision: Tensor) -> Linear:
    """The normal operator plus ``precision`` ``(s)`` on the coefficients of every shell."""
    weight = fourier.spread_shells(precision, region.grid, 3)

    def with_prior(values: Tensor) -> Tensor:
        coefficients = fourier.transform(region.to_volume(values), 3) * weight
        return normal(values) + region.from_volume(fourier.inverse_transform(coefficients, 3))

    return with_prior


def _limited(volume: Tensor, region: Region, band: int) -> Tensor:
    shells = region.grid.shells(3, volume.device)
    return fourier.inverse_transform(torch.where(shells <= band, fourier.transform(volume, 3), 0.0), 3)
