"""Images made ready for a model: soft circular masks, level ice, unit noise variance, a training box."""

from __future__ import annotations

import math
from functools import lru_cache

import torch

from dynaflex import fourier
from dynaflex.errors import InputError, UsageError
from dynaflex.grid import Grid
from dynaflex.shapes import Tensor

# What surrounds the particle when nothing is known about it, and what is left around a measured one, in Å.
_MARGIN = 20.0


def circular_mask(
    grid: Grid, diameter: float, edge: float, center: Tensor | None = None, device: torch.device | None = None
) -> Tensor:
    """A disc of ``diameter`` Å that falls from 1 to 0 as a raised cosine over the ``edge`` Å outside it.

    ``center`` ``(b 2)`` places it at (x, y) in Å, for example at ``Pose.shift``, where the particle sits: the mask is
    then ``(b h h)``, else it lies at the origin and is ``(h h)``. Float32.
    """
    if center is not None:
        device = center.device
    axis = grid.axis(device, torch.float64)
    x0, y0 = (0.0, 0.0) if center is None else (center[:, 0, None, None].double(), center[:, 1, None, None].double())
    radius = ((axis[None, :] - x0).square() + (axis[:, None] - y0).square()).sqrt()
    if edge <= 0.0:
        return (radius <= 0.5 * diameter).float()
    falling = ((radius - 0.5 * diameter) / edge).clamp(0.0, 1.0)
    return (0.5 + 0.5 * torch.cos(math.pi * falling)).float()


def levelled(images: Tensor, grid: Grid, diameter: float) -> Tensor:
    """Images ``(b h h)`` without the slope of the plane nearest to what lies outside the circle of ``diameter`` Å.

    The offset stays, and an image that is constant is not changed at all.

    Raises:
        UsageError: the circle leaves no background.
    """
    outside, fit, axes = _planes(grid, diameter)
    around = images.flatten(1)[:, outside].double()
    # Not by products of matrices, whose last bits depend on how many images there are.
    x, y = ((around * column).sum(dim=1, keepdim=True).to(images.dtype) for column in fit.T)
    return images - (x * axes[0] + y * axes[1]).view_as(images)


def paired(index: Tensor) -> Tensor:
    """The positions ``index`` ``(b)``, one that is alone twice.

    A single image goes another way through a Fourier transform, and differs in the last bits from what it is among
    others.
    """
    return index.repeat(2) if len(index) == 1 else index


@lru_cache(maxsize=4)
def _planes(grid: Grid, diameter: float) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels outside the circle ``(n)``, what makes their values slopes along x and y ``(n 2)``, and the planes of
    unit slope ``(2 h²)``."""
    axis = grid.axis(dtype=torch.float64) / grid.width
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    disc = (x.square() + y.square()).sqrt() * grid.width <= 0.5 * diameter
    require_background(disc.float())
    axes = torch.stack([x.flatten(), y.flatten()])
    outside = (~disc).flatten().nonzero()[:, 0]
    centred = axes[:, outside] - axes[:, outside].mean(dim=1, keepdim=True)
    return outside, torch.linalg.solve(centred @ centred.T, centred).T, axes.float()


def normalise(images: Tensor, mask: Tensor) -> Tensor:
    """Images ``(b h h)`` with zero mean and unit variance outside the particle.

    ``mask`` ``(h h)`` or ``(b h h)`` is 1 on the particle; a pixel counts as noise with weight ``1 - mask``. Only an
    offset and a factor change, one of each per image.

    Raises:
        UsageError: the mask leaves no background.
        InputError: an image is constant outside the particle; ``row`` is its place among ``images``.
    """
    require_background(mask)
    weight = (1.0 - mask).double().expand(images.shape)
    total = weight.sum((-2, -1), keepdim=True)
    mean = (weight * images).sum((-2, -1), keepdim=True) / total
    variance = (weight * (images - mean).square()).sum((-2, -1), keepdim=True) / total
    if not bool((variance > 0).all()):
        raise InputError(
            "preprocess.constant-background",
            "has the same value everywhere around the particle",
            row=int((~(variance > 0)).flatten().nonzero()[0]),
            expected="noise",
            fix="give the particles as they were extracted, not masked, or a smaller particle diameter",
        )
    return ((images - mean) * variance.rsqrt()).to(images.dtype)


def require_background(mask: Tensor) -> None:
    """Refuse a mask ``(... h h)`` that leaves too little around the particle.

    Raises:
        UsageError: it leaves less than one pixel in a hundred to measure the noise in.
    """
    if bool(((1.0 - mask).mean((-2, -1)) < 0.01).any()):
        raise UsageError(
            "preprocess.no-background",
            "the mask covers the image: no background is left to measure the noise in",
            fix="use a smaller particle diameter, or particles in a larger box",
        )


def fourier_crop(images: Tensor, box: int) -> Tensor:
    """Images ``(b h h)`` low-passed to a box of ``box`` pixels, ``(b box box)``, in the same units of density.

    Pixel values keep their scale, so the variance of white noise falls by ``(box / h)²``: call :func:`normalise` on the
    result where unit noise variance is meant.

    Raises:
        UsageError: the box is odd, not positive, or larger than the images.
    """
    require_crop(box, images.shape[-1])
    return fourier.crop_images(images, box)


def require_crop(box: int, whole: int) -> None:
    """Refuse a ``box`` that images of ``whole`` pixels cannot be cropped to.

    Raises:
        UsageError: it is odd, not positive, or larger than the images.
    """
    if box % 2 or not 0 < box <= whole:
        raise UsageError(
            "preprocess.train-box",
            "images cannot be cropped to this box",
            expected=f"an even number up to {whole}",
            found=box,
        )


def particle_diameter(grid: Grid, mask: Tensor | None = None) -> float:
    """The diameter in Å of the circle around the box centre that holds the particle.

    From a mask ``(d d d)``: twice the distance of its farthest voxel above one half, plus a margin of 20 Å. Without
    one: the width of the box less 20 Å. Never more than the width of the box less two pixels, so that its corners show
    noise; never less than half the width without a mask, in boxes too small for the margin.

    Raises:
        InputError: the mask has no voxel above one half.
    """
    widest = grid.width - 2.0 * grid.pixel_size
    if mask is None:
        return min(widest, max(grid.width - _MARGIN, 0.5 * grid.width))
    inside = grid.points(mask.device)[mask.flatten() > 0.5]
    if not len(inside):
        raise InputError(
            "mask.empty", "this mask is empty", expected="voxels above 0.5", fix="make it with a lower threshold"
        )
    return min(widest, 2.0 * float(inside.norm(dim=1).max()) + _MARGIN)
