"""The legend of dimensions, and the tensor aliases every signature uses.

A docstring writes a shape as ``(b n 3)``. One letter means one thing everywhere:

====  ==========================================================
b     particles in a batch
n     points: Gaussians, atoms or voxels
p     particles in a data set
k     latent coordinates
c     classes of Gaussian
e     edges of a graph over points
v     vertices of a mesh
t     tetrahedra of a mesh
h     height and width of an image (square); ``h w`` in rfft layout, with w = h // 2 + 1
d     depth, height and width of a volume (cubic), ordered [z, y, x]
s     Fourier shells
====  ==========================================================

Vectors are (x, y, z) in Å with the origin at the centre of the box; a name without a unit suffix means Å or radians.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor
else:
    # Signatures name it and nothing asks it anything: no command need load torch to read them.
    Tensor = "torch.Tensor"

Array = NDArray[np.float64]
FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

__all__ = ["Array", "BoolArray", "FloatArray", "IntArray", "Tensor"]
