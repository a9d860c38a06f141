"""Noise that differs between optics groups: other microscopes, cameras, doses and pixel sizes colour it otherwise.

An image and the CTF of its particle are both divided by the square root of what the noise of the particle's group is
over that of all. Then one spectrum is that of all images, and a likelihood, a weight or a map is right for every group
without knowing of any; only what is compared under another spectrum needs the logarithm of the determinant.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from dynaflex.grid import Grid
from dynaflex.imaging.noise import LEAST, log_normaliser, shell_counts
from dynaflex.shapes import IntArray, Tensor

SURE = 0.1
"""Relative standard error of the power in the coarsest shell up to which a spectrum is a group's own. Weights that are
off by so much lose its square, a hundredth, of what the group's images tell."""


@dataclass(frozen=True)
class GroupNoise:
    """What the power of the noise of optics groups ``numbers`` ``(n)``, rising, is ``relative`` ``(n s)`` to that of
    all particles; nothing where all are alike."""

    numbers: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    relative: Tensor = field(default_factory=lambda: torch.ones(0, 1))

    @property
    def differs(self) -> bool:
        """True if not all groups have the same noise."""
        return len(self.numbers) > 0

    def to(self, device: torch.device) -> GroupNoise:
        """The same on a device."""
        return GroupNoise(self.numbers.to(device), self.relative.to(device))

    def rows(self, group: IntArray) -> Tensor:
        """Which row of :meth:`table` is that of particles in these optics groups ``(p)``."""
        known = self.numbers.cpu()
        number = torch.from_numpy(np.asarray(group, dtype=np.int64))
        row = torch.searchsorted(known, number)
        found = known[row.clamp(max=max(len(known) - 1, 0))] == number if len(known) else torch.zeros_like(row).bool()
        return torch.where(found, row, len(known))

    def table(self) -> Tensor:
        """``relative``, and 1 for a group that is not among them, ``(n+1 s)``."""
        return torch.cat([self.relative, torch.ones_like(self.relative[:1])]) if self.differs else self.relative

    def log_normalisers(self, power: Tensor, grid: Grid) -> Tensor:
        """:func:`log_normaliser` ``(n+1)`` of the groups, where ``power`` ``(s)`` is that of all; double precision."""
        everyone = log_normaliser(power, grid).double()
        if not self.differs:
            return everyone[None]
        counts = shell_counts(grid, power.device).double()
        return everyone + 0.5 * self.table().to(power.device).double().log() @ counts


@dataclass(frozen=True)
class NoiseKinds:
    """Optics groups by whose noise is learned together: each that has enough particles is a kind of its own, and all
    others are one.

    ``kind`` ``(n)`` is that of the groups ``numbers`` ``(n)``, rising, and ``of`` ``(p)`` that of every particle.
    ``own`` ``(k)`` is false for a kind that still has too few, and is taken to have the noise of all.
    """

    numbers: Tensor
    kind: Tensor
    of: Tensor
    own: Tensor

    @classmethod
    def among(cls, group: IntArray, image: IntArray, window: Tensor, grid: Grid) -> NoiseKinds:
        """Those of particles in optics groups ``group`` ``(p)``, which ``image`` ``(p)`` shows.

        The spectrum is measured inside of ``window`` ``(h h)``: a shell of n pairs of coefficients has
        ``n mean(window²)`` independent ones in an image, and each tells the power to a relative error of 1.
        """
        pairs = 0.5 * float(shell_counts(grid, window.device)[1] * window.square().mean())
        needed = 1.0 / (SURE**2 * pairs)
        _, first = np.unique(image, return_index=True)
        numbers, member = np.unique(group, return_inverse=True)
        images = np.bincount(member[first], minlength=len(numbers))
        enough = images >= needed
        if enough.all() or len(numbers) == 1:
            kind, own = np.arange(len(numbers)), np.ones(len(numbers), dtype=bool)
        else:
            kind = np.where(enough, np.cumsum(enough) - 1, enough.sum())
            own = np.append(np.ones(enough.sum(), dtype=bool), images[~enough].sum() >= needed)
        found = (numbers, kind, kind[member], own)
        return cls(*(torch.from_numpy(np.asarray(values)).to(window.device) for values in found))

    def __len__(self) -> int:
        return len(self.own)

    def share(self, index: Tensor) -> Tensor:
        """What part of the particles ``index`` ``(b)`` each kind is, ``(k)``."""
        return self.of[index.to(self.of.device)].bincount(minlength=len(self)).float() / len(index)

    def relative(self, noise: GroupNoise) -> Tensor:
        """The ``relative`` power of each kind under a noise of the same groups, ``(k s)``."""
        if not noise.differs:
            return torch.ones(len(self), 1, device=self.of.device)
        first = torch.stack([(self.kind == kind).nonzero()[0, 0] for kind in range(len(self))])
        return noise.relative.to(self.of.device)[first]

    def power(self, left: Tensor, noise: GroupNoise, index: Tensor) -> Tensor:
        """The power ``(k s)`` of each kind's noise, from what each ``left`` ``(k s)``, seen in ``noise``, in the mean
        over particles ``index`` ``(b)``. A kind of which there is too little has that of all."""
        share, left = self.share(index)[:, None], left * self.relative(noise)
        known = self.own[:, None] & (share > 0.0) & (left.sum(dim=1, keepdim=True) > 0.0)
        return torch.where(known, left / share.clamp(min=1e-12), left.sum(dim=0))

    def noise(self, power: Tensor, index: Tensor) -> tuple[Tensor, GroupNoise]:
        """The mean power ``(s)`` over particles ``index`` ``(b)`` of kinds that have ``power`` ``(k s)``, and what that
        of each group is to it."""
        mean = (self.share(index)[:, None] * power).sum(dim=0)
        if len(self) == 1:
            return mean, GroupNoise()
        return mean, GroupNoise(self.numbers, (power.clamp(min=LEAST) / mean.clamp(min=LEAST))[self.kind])
