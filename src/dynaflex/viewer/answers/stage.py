"""A run at one moment of its life: particles, models, and all that was found of them; thrown away together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from dynaflex.errors import DynaflexError
from dynaflex.results.trained import TrainedHalf, config_of, load_half
from dynaflex.run.directory import Run
from dynaflex.viewer.answers.unfinished import latents_of
from dynaflex.viewer.density.decoder import Decoder
from dynaflex.viewer.particles.motion import Motion
from dynaflex.viewer.particles.planes import Planes
from dynaflex.viewer.particles.table import ParticleTable

T = TypeVar("T")


class Stage:
    """What is slow is made when it is first asked for, once, whichever thread asks.

    Of a run that is still in training, ``halves`` are those that have been begun.

    Raises:
        DamagedCheckpointError: the latents cannot be read.
    """

    def __init__(self, run: Run, halves: dict[int, TrainedHalf] | None = None) -> None:
        self.run, self._halves = run, halves
        shared = config_of(run).half_sets == "shared"
        self.particles = ParticleTable(run, shared, latents_of(halves) if halves else None)
        self._made: dict[tuple[str, int], Any] = {}
        self._lock = threading.RLock()

    @property
    def motion(self) -> Motion | None:
        """The coordinates of motion of the particles; None where a model is missing."""
        return self._once("motion", 0, self._moving)

    @property
    def planes(self) -> Planes:
        """The planes that particles are plotted in."""
        return self._once("planes", 0, lambda: Planes(self.particles, self.motion))

    def trained(self, half: int) -> TrainedHalf:
        """The model of a half.

        Raises:
            UsageError: the half has not been trained to its end.
            DamagedCheckpointError: no checkpoint verifies.
        """
        if self._halves is not None:
            return self._halves[half]
        return self._once("trained", half, lambda: load_half(self.run, half))

    def decoder(self, half: int) -> Decoder:
        """The model of a half with the map that it carries."""
        return self._once("decoder", half, lambda: Decoder(self.run, self.trained(half)))

    def close(self) -> None:
        """Work on it no more."""
        motion = self._made.get(("motion", 0))
        if motion is not None:
            motion.close()

    def _moving(self) -> Motion | None:
        try:
            return Motion({half: self.trained(half) for half in self.particles.halves}, self.particles.latents)
        except DynaflexError:
            return None

    def _once(self, name: str, half: int, make: Callable[[], T]) -> T:
        with self._lock:
            if (name, half) not in self._made:
                self._made[name, half] = make()
            found: T = self._made[name, half]
            return found
