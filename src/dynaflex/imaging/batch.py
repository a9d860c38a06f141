"""Particles a few at a time: how each was seen, and its image, which is read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import torch

from dynaflex import fourier, ranks
from dynaflex.errors import ResourceError
from dynaflex.grid import Grid
from dynaflex.imaging.pose import Pose
from dynaflex.machine import ran_out_of_memory
from dynaflex.series import ALONE, Series
from dynaflex.shapes import Tensor

T = TypeVar("T")
W = TypeVar("W")


def none_fits(error: Exception) -> ResourceError:
    """What is said where memory does not hold what a single particle takes."""
    return ResourceError(
        "memory.device",
        "the memory of the device does not hold a single particle",
        found=str(error).splitlines()[0] if str(error) else None,
        fix="a smaller --train-box, or fewer Gaussians or cells, or --device cpu",
    )


def require_fewer(error: Exception, particles: int) -> None:
    """Go on from an ``error`` of work on so many ``particles`` if fewer of them may fit into memory.

    Raises:
        Exception: the same error, which is another.
        ResourceError: memory does not hold a single particle.
    """
    if not ran_out_of_memory(error):
        raise error
    if particles == 1:
        raise none_fits(error) from error


def _in_halves(
    work: Callable[[W], T], whole: W, particles: Callable[[W], int], halves: Callable[[W], Iterable[W]]
) -> list[T]:
    try:
        return [work(whole)]
    except Exception as error:
        require_fewer(error, particles(whole))
    # Not above: there the error still holds on to all that was in memory.
    return [found for half in halves(whole) for found in _in_halves(work, half, particles, halves)]


def in_halves(work: Callable[[Tensor], T], index: Tensor) -> list[T]:
    """What ``work`` gives of particles ``index`` ``(b)``, or, where memory does not hold that, of its halves in order.

    Only what failed is done again, so that ranks that wait for each other never notice. ``work`` leaves nothing behind
    where it fails.

    Raises:
        ResourceError: memory does not hold a single particle.
    """
    return _in_halves(work, index, len, lambda whole: whole.split(-(-len(whole) // 2)))


def halved(work: Callable[[Tensor], Tensor], index: Tensor) -> Tensor:
    """The rows ``(b ...)`` that ``work`` gives of particles ``index`` ``(b)``, by :func:`in_halves`."""
    parts = in_halves(work, index)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


@dataclass(frozen=True)
class Share:
    """What a batch is a rank's share of: the particles ``whole`` ``(w)``, and how much each of its own counts in a sum
    over the ranks."""

    whole: Tensor
    count: float


@dataclass(frozen=True)
class Batch:
    """b particles of a set, as a model sees them; of tilt series, b images of whole particles.

    ``index`` ``(b)`` counts particles of the set, ``ctf`` is ``(b h w)``. ``noise`` ``(b k)`` is the standard normal
    draw of a sampler, ``latents`` ``(b k)`` the conformations where they are given; without them nothing moves.
    ``particle`` ``(b)`` says which images of tilt series show the same one, and is empty where each shows its own.
    ``read`` fetches ``coefficients``: what goes through all particles again and again needs their images once.
    Where there is a ``share``, other ranks have the rest of it.
    """

    index: Tensor
    pose: Pose
    ctf: Tensor
    read: Callable[[], Tensor]
    noise: Tensor = field(default_factory=lambda: torch.zeros(0))
    latents: Tensor | None = None
    share: Share | None = None
    particle: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def coefficients(self) -> Tensor:
        """The transforms ``(b h w)`` of the normalised images."""
        return self.read()

    @cached_property
    def series(self) -> Series:
        """Which images are of one particle, and share its conformation."""
        return Series(self.particle) if len(self.particle) else ALONE

    @property
    def particles(self) -> int:
        """How many particles there are."""
        return self.series.count(len(self))

    @property
    def everyone(self) -> Tensor:
        """The particles ``(w)`` that all ranks have together."""
        return self.index if self.share is None else self.share.whole

    @property
    def count(self) -> float:
        """How much each particle counts in a sum over ranks; what is not shared, all of them have."""
        return 1.0 / ranks.size() if self.share is None else self.share.count

    def where(self, chosen: Callable[[Tensor], Tensor]) -> Batch:
        """The particles for which ``chosen(index)`` is true ``(b)``, of all ranks."""
        part = self.take(chosen(self.index))
        if self.share is None:
            return part
        return replace(part, share=replace(self.share, whole=self.share.whole[chosen(self.share.whole)]))

    def take(self, which: Tensor) -> Batch:
        """The particles at ``which`` (positions, or a mask ``(b)``)."""
        if which.dtype == torch.bool:
            # How many they are is waited for once, and not for every part of the batch.
            which = which.nonzero()[:, 0].to(self.index.device)
        return Batch(
            index=self.index[which],
            pose=self.pose[which],
            ctf=self.ctf[which],
            read=lambda: self.coefficients[which],
            noise=self.noise[which] if len(self.noise) else self.noise,
            latents=None if self.latents is None else self.latents[which],
            share=self.share,
            particle=self.particle[which] if len(self.particle) else self.particle,
        )

    def split(self, size: int) -> list[Batch]:
        """The same particles in batches of at most ``size`` images, or of one particle where it has more."""
        if len(self) <= size:
            return [self]
        return [self.take(part.to(self.index.device)) for part in self.series.parts(len(self), size)]

    def in_pieces(self, work: Callable[[Batch], T]) -> list[T]:
        """As :func:`in_halves`, of batches; no particle is torn apart."""
        return _in_halves(work, self, lambda whole: whole.particles, lambda whole: whole.split(-(-len(whole) // 2)))

    def coarse(self, grid: Grid) -> Batch:
        """The same particles on a coarser ``grid``, their images kept: a few kB each."""
        coefficients = fourier.crop_coefficients(self.coefficients, grid.box, 2)
        small = coefficients * (grid.box / self.coefficients.shape[-2]) ** 2
        return replace(self, ctf=fourier.crop_coefficients(self.ctf, grid.box, 2), read=lambda: small)
