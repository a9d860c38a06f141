"""How strongly each particle shows: ice is thick and thin, and images are normalised by what surrounds the particle.

An image is taken to be its particle's contrast times the prediction, plus noise. Nothing else in the model can say so,
and without it latents do: density that grows fainter is a motion of everything, in and out.
"""

from __future__ import annotations

import torch

from dynaflex.shapes import Tensor

_SURE = 3.0
"""By so many of its own standard deviations the spread must exceed what noise makes of alike particles."""
_LEAST, _MOST = 0.1, 10.0


def matching(prediction: Tensor, images: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The factor at which each prediction is nearest to its image, and its standard error, ``(b)`` each.

    ``prediction`` and ``images`` are coefficients ``(b h w)``, ``weights`` ``(h w)`` those of the likelihood.
    """
    g, y = torch.view_as_real(prediction), torch.view_as_real(images)
    norm = (g.square() * weights[..., None]).sum(dim=(1, 2, 3)).clamp(min=1e-12)
    return (g * y * weights[..., None]).sum(dim=(1, 2, 3)) / norm, norm.rsqrt()


def contrasts(factor: Tensor, error: Tensor, of: Tensor) -> Tensor:
    """The contrast ``(p)`` of particles with these ``factor`` and ``error`` ``(p)``, relative to the mean of those at
    ``of`` ``(t)``.

    Contrasts are drawn from a normal distribution whose mean and variance are those of the factors, less what their
    errors explain (DerSimonian and Laird, 1986); a factor that is known badly stays near the mean. All contrasts are 1
    where the particles might as well be alike: Cochran's Q.
    """
    known = of[(factor[of].isfinite() & error[of].isfinite()).nonzero()[:, 0]]
    x, precision = factor[known].double(), error[known].double().square().reciprocal()
    total, free = precision.sum(), len(known) - 1
    excess = (precision * (x - (precision * x).sum() / total).square()).sum() - free
    if free < 1 or not excess > _SURE * (2.0 * free) ** 0.5:
        return torch.ones_like(factor)
    variance = excess / (total - precision.square().sum() / total)
    trust = 1.0 / (variance + 1.0 / precision)
    mean = (trust * x).sum() / trust.sum()
    shrunk = mean + variance / (variance + error.double().square()) * (factor.double() - mean)
    relative = (shrunk / mean).clamp(_LEAST, _MOST).to(factor.dtype)
    return torch.where(relative.isfinite(), relative, 1.0)
