"""Linear equations that are too large to be written down: what solvers of them have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from dynaflex.shapes import Tensor

Linear = Callable[[Tensor], Tensor]
"""A symmetric operator on vectors ``(n)``."""


@dataclass(frozen=True)
class Step:
    """Where a solver of ``N x = b`` stands: ``solution`` x and ``residual`` ``b - N x``, both ``(n)``."""

    solution: Tensor
    residual: Tensor

    def energy(self, right_hand_side: Tensor) -> float:
        """``x N x / 2 - b x``: half the sum of squares, less that of the images."""
        return -0.5 * float(self.solution.double() @ (right_hand_side + self.residual).double())


def conjugate_gradients(
    normal: Linear, right_hand_side: Tensor, precondition: Linear, start: Tensor | None = None
) -> Iterator[Step]:
    """The steps towards ``normal(x) = right_hand_side`` ``(n)``, the ``start`` (zero where None) being the first.

    Ends where the residual vanishes or ``normal`` loses its positive curvature to rounding. A ``precondition`` that
    lets only a subspace pass keeps all changes inside of it. The tensors of a step are updated in place by the next.
    """
    residual = right_hand_side.clone()
    solution = torch.zeros_like(residual)
    if start is not None:
        solution += start
        residual -= normal(start)
    yield Step(solution, residual)
    # A filter that changes nothing may hand back what it was given.
    direction = precondition(residual).clone()
    energy = residual @ direction
    while energy > 0:
        image = normal(direction)
        curvature = direction @ image
        if not curvature > 0:
            return
        solution += energy / curvature * direction
        residual -= energy / curvature * image
        yield Step(solution, residual)
        preconditioned = precondition(residual)
        previous, energy = energy, residual @ preconditioned
        direction = preconditioned + energy / previous * direction
