"""Class averages of some particles: those seen from one side, aligned in their plane and averaged as Wiener would."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from sklearn.cluster import KMeans

from dynaflex import fourier
from dynaflex.errors import UsageError
from dynaflex.grid import Grid
from dynaflex.imaging.ctf import transfer_function
from dynaflex.imaging.pose import Pose
from dynaflex.shapes import IntArray, Tensor
from dynaflex.viewer.answers.images import ParticleImages, low_passed, shades
from dynaflex.viewer.answers.wire import pack

MOST_VIEWS, MOST_IMAGES = 12, 1000
_EACH = 8
_READ = 64
_CONSTANT = 0.1
"""What is added to the mean CTF² of a view: a tenth of what it would be without zeros."""


@dataclass(frozen=True)
class View:
    """The transform ``(h w)`` of the average of so many images, seen along ``direction`` ``(3)`` of the reference."""

    coefficients: Tensor
    count: int
    direction: Tensor


class ClassAverages:
    """The averages of choices among a run's particles; the last are kept."""

    def __init__(self, images: ParticleImages) -> None:
        self.images = images
        self._averaged = lru_cache(maxsize=2)(self._average)

    def packed(self, rows: IntArray, resolution: float) -> bytes:
        """A message with ``averages``, uint8 ``(v h h)``, of particles in rows of the input table, the largest first.

        Of more than 1,000 particles some are drawn. ``counts`` are how many each is of, ``used`` how many all are.

        Raises:
            UsageError: these are no particles of this run, or none at all.
            InputError: the images cannot be read.
        """
        if not len(rows) or not resolution > 0:
            raise UsageError("view.rows", "no particle is selected")
        drawn = np.random.default_rng(0).permutation(len(rows))[:MOST_IMAGES]
        views = self._averaged(tuple(np.sort(rows[drawn]).tolist()))
        pictures = np.stack([low_passed(view.coefficients, self.images.grid, resolution) for view in views])
        header = {
            "counts": [view.count for view in views], "used": len(drawn), "total": len(rows),
            "pixel_size": self.images.grid.pixel_size, "layers": ["averages"],
        }  # fmt: skip
        return pack(header, shades(pictures))

    def _average(self, rows: tuple[int, ...]) -> list[View]:
        where, grid = self.images.positions(np.array(rows)), self.images.grid
        particles = self.images.particles
        index = torch.from_numpy(where)
        pose = particles.pose[index].to(torch.device("cpu"))
        images = torch.cat([self.images.coefficients(part.numpy()) for part in index.split(_READ)])
        ctf = torch.cat([transfer_function(particles.ctf[part], grid) for part in index.split(_READ)])
        return averages(images, ctf, pose, grid, max(1, min(MOST_VIEWS, len(rows) // _EACH)))


def averages(images: Tensor, ctf: Tensor, pose: Pose, grid: Grid, views: int) -> list[View]:
    """Averages of images with coefficients and CTF ``(b h w)`` from at most so many views, the largest first.

    Views are clusters (k-means) of the directions in which the particles are seen. Within one, images are turned and
    moved so that the particles lie alike; an average is ``sum(CTF image) / (sum(CTF²) + constant)``, with CTF² meant
    over each Fourier shell, since it turns with its image.
    """
    directions = pose.rotation[:, 2]
    views = min(views, len(torch.unique(directions, dim=0)))
    labels = torch.from_numpy(KMeans(views, n_init=4, random_state=0).fit_predict(directions.double().numpy()))
    found = []
    for label in range(views):
        mine = (labels == label).nonzero()[:, 0]
        middle = torch.nn.functional.normalize(directions[mine].double().mean(dim=0), dim=0)
        seen = fourier.inverse_transform(images[mine] * ctf[mine].conj(), 2)
        total = aligned(seen, pose[mine], _upright(middle).float(), grid).sum(dim=0)
        power = torch.stack([fourier.shell_mean(one.abs().square(), grid, 2) for one in ctf[mine]]).sum(dim=0)
        weight = fourier.spread_shells(power + _CONSTANT * len(mine), grid, 2)
        found.append(View(fourier.transform(total, 2) / weight, len(mine), middle))
    return sorted(found, key=lambda view: -view.count)


def aligned(images: Tensor, pose: Pose, camera: Tensor, grid: Grid) -> Tensor:
    """Images ``(b h h)`` turned and moved in their plane, with the particles as a ``camera`` ``(3 3)`` sees them.

    The camera's rows are to the right, up and along the beam, as those of a rotation of :class:`Pose` are.
    """
    between = pose.rotation @ camera.T
    angle = torch.atan2(between[:, 0, 1] - between[:, 1, 0], between[:, 0, 0] + between[:, 1, 1])
    cos, sin = angle.cos(), angle.sin()
    # A place x of the output shows what lies at R(-angle) x + shift; in units of half the box for grid_sample.
    axis = grid.axis()
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    from_x = cos[:, None, None] * x + sin[:, None, None] * y + pose.shift[:, 0, None, None]
    from_y = -sin[:, None, None] * x + cos[:, None, None] * y + pose.shift[:, 1, None, None]
    place = torch.stack([from_x, from_y], dim=-1) / grid.pixel_size + grid.center
    unit = (2.0 * place + 1.0) / grid.box - 1.0
    return torch.nn.functional.grid_sample(images[:, None], unit, mode="bicubic", align_corners=False)[:, 0]


def _upright(direction: Tensor) -> Tensor:
    """A camera ``(3 3)`` that looks along a direction, with the reference's z up, or its y where that is hidden."""
    axis = torch.tensor([0.0, 0.0, 1.0] if float(direction[2].abs()) < 0.9 else [0.0, 1.0, 0.0], dtype=direction.dtype)
    up = torch.nn.functional.normalize(axis - (axis @ direction) * direction, dim=0)
    return torch.stack([torch.linalg.cross(up, direction), up, direction])
