"""The least-squares map by L-BFGS, as 3DFlex finds it: a check of the conjugate gradients."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice

import torch

from dynaflex.linear import Linear, Step
from dynaflex.reconstruct.equations import Equations
from dynaflex.shapes import Tensor

ITERATIONS = 20
HISTORY = 10
"""Pairs of steps and changes of the gradient that are remembered; each takes two vectors of all voxels."""


def solve_lbfgs(equations: Equations, iterations: int = ITERATIONS) -> Tensor:
    """The map ``(d d d)`` that minimises [DM 6], by full-batch L-BFGS in real space from a map of zeros.

    Plain least squares, without prior or preconditioner, as in "High-resolution refinement and validation" of the
    3DFlex paper. The energy is quadratic, which makes the line search exact at no cost: an iteration takes one
    application of the normal operator.
    """
    *_, last = islice(lbfgs(equations.normal, equations.right_hand_side), iterations + 1)
    return equations.region.to_volume(last.solution)


def lbfgs(normal: Linear, right_hand_side: Tensor) -> Iterator[Step]:
    """The steps towards ``normal(x) = right_hand_side`` ``(n)``, zero being the first.

    Ends where the residual vanishes or ``normal`` loses its positive curvature to rounding. The tensors of a step are
    updated in place by the next.
    """
    residual = right_hand_side.clone()
    solution = torch.zeros_like(residual)
    yield Step(solution, residual)
    pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=HISTORY)
    while True:
        direction = _direction(residual, pairs)
        image = normal(direction)
        slope, curvature = residual @ direction, direction @ image
        if not slope > 0 or not curvature > 0:
            return
        length = slope / curvature
        pairs.append((length * direction, length * image))
        solution += pairs[-1][0]
        residual -= pairs[-1][1]
        yield Step(solution, residual)


def _direction(residual: Tensor, pairs: deque[tuple[Tensor, Tensor]]) -> Tensor:
    """The residual times the inverse Hessian that the ``pairs`` suggest: the two-loop recursion."""
    direction = residual.clone()
    weights = []
    for step, change in reversed(pairs):
        weights.append((step @ direction) / (step @ change))
        direction -= weights[-1] * change
    if pairs:
        step, change = pairs[-1]
        direction *= (step @ change) / (change @ change)
    for (step, change), weight in zip(pairs, reversed(weights), strict=True):
        direction += (weight - (change @ direction) / (step @ change)) * step
    return direction
