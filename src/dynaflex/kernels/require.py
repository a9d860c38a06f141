"""What the kernels of every backend ask before they read memory without asking."""

from __future__ import annotations

from dynaflex.shapes import Tensor


def require_shape(what: str, array: Tensor, *shape: int) -> None:
    """Raises ``ValueError`` where an array has another shape."""
    if array.shape != shape:
        raise ValueError(f"{what} have the shape {tuple(array.shape)}, expected {shape}")


def require_square(images: Tensor, batch: int) -> None:
    """Raises ``ValueError`` where there are not so many images, as high as they are wide."""
    require_shape("images", images, batch, images.shape[-1], images.shape[-1])
