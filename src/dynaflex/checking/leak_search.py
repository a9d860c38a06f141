"""The search of a whole data set for images that both half-sets hold under different names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dynaflex.checking.leaks import COPIED, NOISE, SIMILAR, nearest, overlay, sketch, spread
from dynaflex.data.particles import Particles
from dynaflex.errors import InputError
from dynaflex.shapes import IntArray, Tensor

_AT_ONCE = 256
_NAMED = 3


@dataclass(frozen=True)
class Copy:
    """Two rows of the table, in different halves, with one image; ``shift`` (x, y) in pixels, and the correlation."""

    row: int
    other_row: int
    shift: tuple[int, int]
    correlation: float


@dataclass(frozen=True)
class Leaks:
    """The copies found, of ``images`` that were looked at; none were looked at where images show too little noise."""

    images: int
    copies: tuple[Copy, ...]

    def errors(self, particles: Particles) -> list[InputError]:
        """One error if anything was found."""
        if not self.copies:
            return []
        shown = ", ".join(f"rows {copy.row} and {copy.other_row}" for copy in self.copies[:_NAMED])
        shift = self.copies[0].shift
        moved = f", moved by {shift[0]} and {shift[1]} pixels" if any(shift) else ""
        return [
            InputError(
                "halves.copies",
                f"{len(self.copies)} images of one half-set are copies of images in the other",
                file=particles.source.path,
                field="rlnImageName",
                expected="noise of its own in every image",
                found=f"{shown} (correlation {self.copies[0].correlation:.2f}{moved})",
                fix="remove one of each pair (--json lists them), or put both into one half of rlnRandomSubset",
            )
        ]


def find_leaks(particles: Particles) -> Leaks:
    """Search all images; those that both halves list under the same name are left to the comparison of names.

    Of every image the most similar one in the other half is looked at, so a copy of a copy may go unnoticed behind it.
    """
    halves = [_unique(particles, half) for half in (1, 2)]
    if min(map(len, halves)) == 0:
        return Leaks(0, ())
    sketches = [_sketches(particles, members) for members in halves]
    if spread(*sketches) > NOISE:
        return Leaks(0, ())
    likeness, partner = nearest(*sketches)
    candidates = np.flatnonzero((likeness > SIMILAR).numpy())
    first, second = halves[0][candidates], halves[1][partner.numpy()[candidates]]
    other = particles.image[first] != particles.image[second]
    return Leaks(len(halves[0]) + len(halves[1]), tuple(_confirmed(particles, first[other], second[other])))


def _unique(particles: Particles, half: int) -> IntArray:
    """The positions of one particle for each image of a half."""
    members = np.flatnonzero(particles.half == half)
    unique: IntArray = members[np.unique(particles.image[members], return_index=True)[1]]
    return unique


def _sketches(particles: Particles, members: IntArray) -> Tensor:
    batches = np.split(members, range(_AT_ONCE, len(members), _AT_ONCE))
    return torch.cat([sketch(torch.from_numpy(particles.unchecked_images(batch)).nan_to_num()) for batch in batches])


def _confirmed(particles: Particles, first: IntArray, second: IntArray) -> list[Copy]:
    """The pairs whose images lie over each other."""
    copies = []
    for start in range(0, len(first), _AT_ONCE):
        here = slice(start, start + _AT_ONCE)
        pair = [torch.from_numpy(particles.unchecked_images(index[here])).nan_to_num() for index in (first, second)]
        correlation, shift = overlay(pair[0], pair[1])
        for i in np.flatnonzero((correlation > COPIED).numpy()):
            rows = particles.rows[first[start + i]], particles.rows[second[start + i]]
            copies.append(Copy(int(rows[0]), int(rows[1]), (int(shift[i, 0]), int(shift[i, 1])), float(correlation[i])))
    return copies
