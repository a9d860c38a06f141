"""Images that show one particle in one conformation: those of its tilt series."""

from __future__ import annotations

from itertools import pairwise

import torch

from dynaflex.shapes import Tensor


class Series:
    """Which of b images show the same particle, g particles in all; the images of a particle follow one another.

    Where every particle is ``alone`` in its image, as in single-particle work, whatever is asked is what was given.
    """

    def __init__(self, particle: Tensor | None) -> None:
        """``particle`` ``(b)`` is the number of the particle that each image shows; None where each shows its own."""
        self.alone = True
        if particle is not None and len(particle) > 1:
            begins = torch.ones_like(particle, dtype=torch.bool)
            begins[1:] = particle[1:] != particle[:-1]
            self.alone = bool(begins.all())
            self._first = begins.nonzero()[:, 0]
            self._of = begins.cumsum(0) - 1

    def count(self, images: int) -> int:
        """How many particles so many ``images``, all that there are, show."""
        return images if self.alone else len(self._first)

    def one(self, values: Tensor) -> Tensor:
        """Of ``values`` ``(b ...)`` that the images of a particle share, one for each particle, ``(g ...)``."""
        return values if self.alone else values[self._first]

    def each(self, values: Tensor) -> Tensor:
        """The ``values`` ``(g ...)`` of particles, for each of their images ``(b ...)``."""
        return values if self.alone else values[self._of]

    def total(self, values: Tensor) -> Tensor:
        """What ``values`` ``(b ...)`` add up to over the images of each particle, ``(g ...)``."""
        if self.alone:
            return values
        return values.new_zeros(len(self._first), *values.shape[1:]).index_add_(0, self._of, values)

    def shared(self, values: Tensor) -> Tensor:
        """What ``values`` ``(b ...)`` add up to over the images of a particle, for each of them, ``(b ...)``."""
        return self.each(self.total(values))

    def mean(self, values: Tensor) -> Tensor:
        """The mean of ``values`` ``(b ...)`` over the images of a particle, for each of them, ``(b ...)``."""
        if self.alone:
            return values
        counts = self._of.bincount().view(-1, *[1] * (values.ndim - 1))
        return self.each(self.total(values) / counts)

    def images_of(self, particles: Tensor) -> Tensor:
        """The positions of the images of some ``particles`` ``(m)``, counted from 0 in the order of the images."""
        if self.alone:
            return particles
        counts = self._of.bincount()[particles]
        before = counts.cumsum(0) - counts
        within = torch.arange(int(counts.sum()), device=counts.device) - before.repeat_interleave(counts)
        return self._first[particles].repeat_interleave(counts) + within

    def parts(self, images: int, size: int) -> list[Tensor]:
        """The positions of all ``images`` in parts of at most ``size``, but no part without a whole particle, and none
        with a part of one."""
        if self.alone:
            return list(torch.arange(images).split(size))
        bounds, ends = [0], [*self._first[1:].tolist(), images]
        for start, end in pairwise([0, *ends]):
            if end - bounds[-1] > size and start > bounds[-1]:
                bounds.append(start)
        return [torch.arange(start, end) for start, end in pairwise([*bounds, images])]


ALONE = Series(None)
"""That of images each of which shows a particle of its own."""
