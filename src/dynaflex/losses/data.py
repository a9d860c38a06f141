"""How far the predicted images are from the measured ones."""

from __future__ import annotations

import torch

from dynaflex.shapes import Tensor


def data_loss(prediction: Tensor, images: Tensor, weights: Tensor) -> Tensor:
    """Negative log-likelihood of each image, up to a constant, ``(b)``: ``|g - y|²_Sigma / 2``. Implements [DM 11].

    Summed over particles it is the ``E_data`` of 3DFlex, with noise that may be coloured. Implements [3DF 3].

    ``prediction`` and ``images`` are coefficients ``(b h w)`` of whole images, neither of them masked; ``weights``
    ``(h w)``, or ``(b h w)``, come from :func:`dynaflex.imaging.noise.noise_weights`. In these units a prior has its
    natural weight.
    """
    difference = torch.view_as_real(prediction - images)
    return 0.5 * (difference.square() * weights[..., None]).sum(dim=(1, 2, 3))
