"""How strongly each particle shows: ice is thick and thin, and images are normalised by what surrounds the particle.

An image is taken to be its particle's contrast times the prediction, plus noise. Nothing else in the model can say so,
and without it latents do: density that grows fainter is a motion of everything, in and out.
"""

from __future__ import annotations

import torch

from dynaflex.series import Series
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


def in_common(factor: Tensor, error: Tensor, series: Series) -> tuple[Tensor, Tensor]:
    """The factor of each particle, and its standard error, for each of its images ``(b)``: the mean of theirs, each as
    much as it is known."""
    if series.alone:
        return factor, error
    trust = error.square().reciprocal()
    total = series.shared(trust)
    return series.shared(factor * trust) / total, total.rsqrt()


def contrasts(factor: Tensor, error: Tensor, of: Tensor, kind: Tensor | None = None) -> Tensor:
    """The contrast ``(p)`` of particles with these ``factor`` and ``error`` ``(p)``, relative to the mean of those at
    ``of`` ``(t)``.

    Contrasts are drawn from a normal distribution whose mean and variance are those of the factors, less what their
    errors explain (DerSimonian and Laird, 1986); a factor that is known badly stays near the mean. All contrasts are 1
    where the particles might as well be alike: Cochran's Q. Particles of each ``kind`` ``(p)`` of noise have a
    distribution of their own, because images are normalised by their noise; one of a single contrast, unless Q says
    otherwise.
    """
    known = of[(factor[of].isfinite() & error[of].isfinite()).nonzero()[:, 0]]
    if _spread(factor[known], error[known]) is None:
        return torch.ones_like(factor)
    of_kind = torch.zeros(len(factor), dtype=torch.int64, device=factor.device) if kind is None else kind
    shrunk, mean = torch.full_like(factor, torch.nan, dtype=torch.float64), torch.zeros((), device=factor.device)
    for one in of_kind[known].unique():
        mine = known[of_kind[known] == one]
        variance = _spread(factor[mine], error[mine]) or 0.0
        trust = 1.0 / (variance + 1.0 / error[mine].double().square().reciprocal())
        middle = (trust * factor[mine].double()).sum() / trust.sum()
        trusted = variance / (variance + error.double().square())
        shrunk = torch.where(of_kind == one, middle + trusted * (factor.double() - middle), shrunk)
        mean = mean + len(mine) / len(known) * middle
    relative = (shrunk / mean).clamp(_LEAST, _MOST).to(factor.dtype)
    return torch.where(relative.isfinite(), relative, 1.0)


def _spread(factor: Tensor, error: Tensor) -> Tensor | None:
    """The variance of contrasts by these factors and errors ``(t)``; None where they might as well be one."""
    x, precision = factor.double(), error.double().square().reciprocal()
    total, free = precision.sum(), len(factor) - 1
    excess = (precision * (x - (precision * x).sum() / total).square()).sum() - free
    if free < 1 or not excess > _SURE * (2.0 * free) ** 0.5:
        return None
    return excess / (total - precision.square().sum() / total)
