"""Where a particle sits in its image, and the projection of points along the beam."""

from __future__ import annotations

from dataclasses import dataclass

import roma
import torch

from dynaflex.shapes import Tensor


@dataclass(frozen=True)
class Pose:
    """RELION poses of b particles.

    ``rotation`` is A ``(b 3 3)``: ``x_image = A x_reference``. ``shift`` ``(b 2)`` is the position (x, y) of the
    particle's centre in its image, in Å: minus (rlnOriginXAngst, rlnOriginYAngst).
    """

    rotation: Tensor
    shift: Tensor

    def __len__(self) -> int:
        return self.rotation.shape[0]

    def __getitem__(self, index: Tensor) -> Pose:
        return Pose(self.rotation[index], self.shift[index])

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Pose:
        """The same poses on a device and in a precision."""
        return Pose(self.rotation.to(device, dtype), self.shift.to(device, dtype))

    def following(self, points: Tensor, destinations: Tensor) -> Pose:
        """The poses of particles that have moved as a whole, as near as a rigid motion comes to taking ``points``
        ``(n 3)`` in Å to ``destinations`` ``(b n 3)``."""
        here = points.double().expand_as(destinations)
        turn, way = (found.to(self.shift) for found in roma.rigid_points_registration(here, destinations.double()))
        return Pose(self.rotation @ turn, self.shift + (self.rotation[:, :2] @ way[:, :, None])[:, :, 0])


def project(points: Tensor, pose: Pose) -> Tensor:
    """Project points ``(b n 3)`` or shared points ``(n 3)`` along the beam to image positions ``(b n 2)`` in Å.

    The result lies in memory as ``(b 2 n)``, the layout that the splat kernels read.
    """
    rows = pose.rotation[:, :2, :]
    if points.ndim == 2:
        flat = rows.reshape(-1, 3) @ points.T
        image = flat.view(len(pose), 2, points.shape[0])
    else:
        image = torch.bmm(rows, points.transpose(1, 2))
    return (image + pose.shift[:, :, None]).transpose(1, 2)
