"""The least-squares map, by conjugate gradients."""

from __future__ import annotations

from itertools import islice

import torch

from dynaflex import fourier
from dynaflex.linear import Linear, conjugate_gradients
from dynaflex.reconstruct.backproject import Batches, RampFilter
from dynaflex.reconstruct.field import Field
from dynaflex.reconstruct.operator import Operator
from dynaflex.reconstruct.prior import Prior
from dynaflex.shapes import Tensor

ITERATIONS = 3


def solve(
    operator: Operator,
    batches: Batches,
    iterations: int = ITERATIONS,
    *,
    start: Tensor | None = None,
    band: int | None = None,
    prior: Prior | None = None,
    ramp: RampFilter | None = None,
) -> Tensor:
    """The map ``(d d d)`` that minimises [DM 6], from conjugate gradients on the normal operator.

    The filter of backprojection is the preconditioner: it inverts the rigid problem but for the edges of the box, so
    a handful of iterations from zero is enough; the first of them is backprojection, rescaled. The images are read
    once, for the right-hand side; each iteration sends the voxels to all particles and back.

    With a ``prior``, the solution is the most probable map and more iterations do no harm; with None it is the
    least-squares map, further iterations fit noise, and stopping early is what keeps it out. The prior counts on images
    whose noise has the power that the operator was told. ``start`` ``(d d d)`` is a map to begin with, at the cost of
    one more iteration. Frequencies above shell ``band`` are held at zero. ``ramp`` is the filter of the same particles
    on the same grid where it is known already: it does not depend on the motion.
    """
    field = operator.field
    ramp = RampFilter(operator, batches) if ramp is None else ramp
    halves = operator.back_in_two(batches())
    normal = least_squares(operator, batches)
    if prior is not None:
        precision = prior(halves, ramp)
        normal, ramp = regularised(normal, field, precision), ramp.with_precision(precision)
    if band is not None:
        ramp = ramp.below(band)
    first = None if start is None else field.from_volume(start)
    steps = conjugate_gradients(normal, halves.sum(dim=0), ramp.apply, first)
    *_, last = islice(steps, iterations + 1)
    volume = field.to_volume(last.solution)
    return volume if band is None else _limited(volume, field, band)


def least_squares(operator: Operator, batches: Batches) -> Linear:
    """The normal operator of all particles."""

    def normal(values: Tensor) -> Tensor:
        total = values.new_zeros(values.shape)
        for batch in batches():
            total += operator.normal(values, batch)
        return total

    return normal


def regularised(normal: Linear, field: Field, precision: Tensor) -> Linear:
    """The normal operator plus ``precision`` ``(s)`` on the coefficients of every shell."""
    weight = fourier.spread_shells(precision, field.grid, 3)

    def with_prior(values: Tensor) -> Tensor:
        coefficients = fourier.transform(field.to_volume(values), 3) * weight
        return normal(values) + field.from_volume(fourier.inverse_transform(coefficients, 3))

    return with_prior


def _limited(volume: Tensor, field: Field, band: int) -> Tensor:
    shells = field.grid.shells(3, volume.device)
    return fourier.inverse_transform(torch.where(shells <= band, fourier.transform(volume, 3), 0.0), 3)
