"""How many latent coordinates a motion has, as images tell that nothing was learned from.

A coordinate that the motion does not have follows the noise of the images in training, and takes what is still along.
Images held out are no likelier for it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from dynaflex.shapes import Tensor
from dynaflex.validate.controls import WORTH, gain


def by_information(covariance: Tensor) -> Tensor:
    """The turn ``(k k)`` after which images tell the coordinates apart, and most of the first.

    ``covariance`` ``(p k k)`` is that of posteriors. A prior that is the same in all directions does not notice a turn.
    """
    precision = torch.linalg.inv(covariance.double()).mean(dim=0)
    return torch.linalg.eigh(precision).eigenvectors.flip(1).T.float()


def needed(active: Tensor, evidence: Callable[[Tensor], Tensor], doubt: float) -> Tensor:
    """Which of the ``active`` coordinates ``(k)`` remain, the last of them going first, and one remaining always.

    ``evidence(active)`` is the logarithm ``(p)`` of the likelihood of particles that were held out, with these. A
    coordinate remains that they miss by more than a standard error and by a fifth of a nat, or may miss by as much:
    by so many standard errors of ``doubt``. What is given up does not come back.
    """
    before = evidence(active)
    while int(active.sum()) > 1:
        fewer = active.clone()
        fewer[int(active.nonzero()[-1])] = 0.0
        without = evidence(fewer)
        gained, error = gain(without, before)
        if gained < -max(error, WORTH - doubt * error):
            break
        active, before = fewer, without
    return active
