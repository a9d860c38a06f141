"""Where the particles of a run lie in motion, found while the page is looked at already."""

from __future__ import annotations

import threading

import numpy as np
import torch

from dynaflex.analyze.trajectory import mean_path
from dynaflex.products.space import MotionFrame
from dynaflex.results.trained import TrainedHalf
from dynaflex.run.files import ParticleLatents
from dynaflex.shapes import Array, FloatArray, IntArray
from dynaflex.viewer.particles.columns import Column

_AT_ONCE = 2048
_PATIENCE = 1.5
_FOR_A_PATH = 2000


class Motion:
    """Coordinates of motion, which both halves have in common; see :class:`MotionFrame`.

    ``values`` ``(N m)`` are those of the particles, NaN for those that have not been reached yet: they are taken a few
    at a time, in no order.
    """

    def __init__(self, halves: dict[int, TrainedHalf], particles: ParticleLatents) -> None:
        self.frame = MotionFrame.of(list(halves.values()))
        self.values: FloatArray = np.full((len(particles.half), len(self.frame.axes.variance)), np.nan, np.float32)
        self._halves, self._particles = halves, particles
        self._reached = 0
        self._over = threading.Event()
        threading.Thread(target=self._find, daemon=True).start()

    @property
    def share(self) -> float:
        """How many of the particles have been reached, as a share of all."""
        return self._reached / max(len(self.values), 1)

    def columns(self) -> list[Column]:
        """The axes."""
        return [Column(f"motion{axis + 1}", f"motion {axis + 1}", "Å", "motion") for axis in range(len(self.values.T))]

    def awaited(self) -> float:
        """The :attr:`share`, 1 if it can be in a moment."""
        self._over.wait(_PATIENCE)
        return self.share

    def coordinates(self, half: int, latents: Array | FloatArray) -> Array:
        """Conformations ``latents`` ``(f k)`` of the model of a half, ``(f m)`` in Å."""
        return self.frame.coordinates(self._halves[half], torch.from_numpy(np.asarray(latents, dtype=np.float32)))

    def path(self, half: int, axis: int, frames: int) -> Array:
        """Latents ``(frames k)`` of a half along an axis, through the middle of its particles."""
        latents = self._halves[half].latents.mean.numpy().astype(np.float64)
        latents = latents[:: -(-len(latents) // _FOR_A_PATH)]
        return mean_path(latents, self.coordinates(half, latents)[:, axis], frames)

    def close(self) -> None:
        """Look for no more of them."""
        self._over.set()

    def _find(self) -> None:
        order = np.random.default_rng(0).permutation(len(self.values))
        for chosen in np.array_split(order, max(1, -(-len(order) // _AT_ONCE))):
            if self._over.is_set():
                return
            self._reach(chosen)
        self._over.set()

    def _reach(self, chosen: IntArray) -> None:
        for half in self._halves:
            mine = chosen[self._particles.half[chosen] == half]
            if len(mine):
                self.values[mine] = self.coordinates(half, self._particles.mean[mine])
        self._reached += len(chosen)
