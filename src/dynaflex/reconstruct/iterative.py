"""The least-squares map, by conjugate gradients."""

from __future__ import annotations

from dynaflex.reconstruct.backproject import Batches, RampFilter
from dynaflex.reconstruct.operator import Operator
from dynaflex.shapes import Tensor

ITERATIONS = 3


def solve(operator: Operator, batches: Batches, iterations: int = ITERATIONS) -> Tensor:
    """The map ``(d d d)`` that minimises [DM 6], from conjugate gradients on the normal operator.

    The filter of backprojection is the preconditioner: it inverts the rigid problem but for the edges of the box, so
    a handful of iterations from zero is enough; the first of them is backprojection, rescaled. The images are read
    once, for the right-hand side; each iteration sends the voxels to all particles and back.
    """
    ramp = RampFilter(operator, batches)
    residual = operator.back(batches(True))
    solution = residual.new_zeros(residual.shape)
    preconditioned = ramp.apply(residual)
    direction = preconditioned.clone()
    energy = residual @ preconditioned
    for _ in range(iterations):
        image = _normal(operator, batches, direction)
        curvature = direction @ image
        if not energy > 0 or not curvature > 0:
            break
        solution += energy / curvature * direction
        residual -= energy / curvature * image
        preconditioned = ramp.apply(residual)
        previous, energy = energy, residual @ preconditioned
        direction = preconditioned + energy / previous * direction
    return operator.field.to_volume(solution)


def _normal(operator: Operator, batches: Batches, values: Tensor) -> Tensor:
    total = values.new_zeros(values.shape)
    for views in batches(False):
        total += operator.normal(values, views)
    return total
