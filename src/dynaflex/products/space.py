"""Where the particles of a run lie: in the latents of their half, and in motion, which both halves have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dynaflex.analyze.axes import PrincipalAxes, principal_axes
from dynaflex.results.trained import TrainedHalf, config_of, load_half
from dynaflex.run.directory import Run
from dynaflex.run.files import particles_shown
from dynaflex.shapes import Array, IntArray, Tensor

MOST_AXES = 10
_FITTED = 4000
_AT_ONCE = 256


@dataclass(frozen=True)
class MotionFrame:
    """Coordinates of motion that both halves have in common.

    They are the displacements of ``landmarks`` ``(n 3)`` by the model of the particle's own half, their mean over the
    half (``center``, by half) taken off, in the frame of their common principal ``axes``. A value is how far the
    molecule moves along that axis, rms over the landmarks in Å.
    """

    landmarks: Tensor
    axes: PrincipalAxes
    center: dict[int, Array]

    @classmethod
    def of(cls, halves: list[TrainedHalf]) -> MotionFrame:
        """The frame of the particles of all ``halves``, found from at most 4,000 of them."""
        landmarks = halves[0].some_landmarks()
        fitted = {}
        for part in halves:
            step = max(1, -(-len(part.rows) // (_FITTED // len(halves))))
            fitted[part.half] = _displacements(part, landmarks, part.latents.mean[::step])
        center = {half: values.mean(axis=0) for half, values in fitted.items()}
        centred = np.concatenate([values - center[half] for half, values in fitted.items()])
        axes = principal_axes(centred, min(MOST_AXES, max(2, halves[0].latents.mean.shape[1])))
        return cls(landmarks, axes, center)

    def coordinates(self, trained: TrainedHalf, latents: Tensor) -> Array:
        """Conformations ``latents`` ``(f k)`` of the model of a half, a few at a time, ``(f m)``."""
        return np.concatenate([
            self.axes.coordinates(_displacements(trained, self.landmarks, some) - self.center[trained.half])
            for some in latents.float().split(_AT_ONCE)
        ])  # fmt: skip


@dataclass(frozen=True)
class ConformationSpace:
    """The conformations of all particles of a run, in the order of their ``rows`` ``(p)`` in the input table.

    ``latents`` ``(p k)`` and their principal components ``pca`` ``(p m)`` are in units of the prior. Halves that were
    trained apart have latent spaces of their own: ``latent_axes`` ``(by half)`` differ, and numbers of one half cannot
    be compared with those of the other, unless they ``shared`` one model. ``motion`` ``(p m)`` can be: it is in the
    coordinates of the ``frame``. ``particle`` ``(p)`` is the row of the particle that a row shows: its own, or the
    first of its tilt series.
    """

    rows: IntArray
    particle: IntArray
    half: IntArray
    latents: Array
    pca: Array
    motion: Array
    latent_axes: dict[int, PrincipalAxes]
    frame: MotionFrame
    shared: bool

    @property
    def motion_axes(self) -> PrincipalAxes:
        """The axes of ``motion``."""
        return self.frame.axes

    def motion_of(self, trained: TrainedHalf, latents: Array) -> Array:
        """Conformations ``latents`` ``(f k)`` of the model of a half, in the coordinates of ``motion`` ``(f m)``."""
        return self.frame.coordinates(trained, torch.from_numpy(latents))


def conformation_space(run: Run) -> ConformationSpace:
    """The conformations of a trained run.

    Raises:
        UsageError: a half has not been trained to its end.
        DamagedCheckpointError: no checkpoint verifies.
    """
    halves = [load_half(run, half) for half in (1, 2)]
    shared = config_of(run).half_sets == "shared"
    rows = np.concatenate([part.rows.numpy() for part in halves]).astype(np.int64)
    order = np.argsort(rows, kind="stable")
    means = [part.latents.mean.numpy().astype(np.float64) for part in halves]
    everyone = np.concatenate(means)
    axes = {
        part.half: principal_axes(everyone if shared else mean, MOST_AXES)
        for part, mean in zip(halves, means, strict=True)
    }
    pca = np.concatenate([axes[part.half].coordinates(mean) for part, mean in zip(halves, means, strict=True)])
    frame = MotionFrame.of(halves)
    motion = np.concatenate([frame.coordinates(part, part.latents.mean) for part in halves])
    return ConformationSpace(
        rows=rows[order],
        particle=particles_shown(run),
        half=np.concatenate([np.full(len(part.rows), part.half, dtype=np.int64) for part in halves])[order],
        latents=everyone[order],
        pca=pca[order],
        motion=motion[order],
        latent_axes=axes,
        frame=frame,
        shared=shared,
    )


def _displacements(trained: TrainedHalf, landmarks: Tensor, latents: Tensor) -> Array:
    """Displacements as rows ``(b 3n)``, scaled so that the length of a row is the rms over the landmarks in Å."""
    moved = trained.displacements(latents, landmarks).double().numpy()
    return np.asarray(moved.reshape(len(moved), -1) / np.sqrt(len(landmarks)))
