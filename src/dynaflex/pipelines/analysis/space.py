"""Where the particles of a run lie: in the latents of their half, and in motion, which both halves have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dynaflex.analyze.embedding import PrincipalAxes, principal_axes
from dynaflex.pipelines.predict import TrainedHalf, config_of, load_half
from dynaflex.run.directory import Run
from dynaflex.shapes import Array, IntArray, Tensor

LANDMARKS = 200
MOST_AXES = 10
_FITTED = 4000
_AT_ONCE = 256


@dataclass(frozen=True)
class ConformationSpace:
    """The conformations of all particles of a run, in the order of their ``rows`` ``(p)`` in the input table.

    ``latents`` ``(p k)`` and their principal components ``pca`` ``(p m)`` are in units of the prior. Halves that were
    trained apart have latent spaces of their own: ``latent_axes`` ``(by half)`` differ, and numbers of one half cannot
    be compared with those of the other, unless they ``shared`` one model.

    ``motion`` ``(p m)`` can be: the displacements of ``landmarks`` ``(n 3)`` by the model of the particle's own half,
    their mean over the half (``motion_center``) taken off, in the frame of their common principal axes. A value is how
    far the molecule moves along that axis, rms over the landmarks in Å.
    """

    rows: IntArray
    half: IntArray
    latents: Array
    pca: Array
    motion: Array
    latent_axes: dict[int, PrincipalAxes]
    motion_axes: PrincipalAxes
    motion_center: dict[int, Array]
    landmarks: Array
    shared: bool

    def motion_of(self, trained: TrainedHalf, latents: Array) -> Array:
        """Conformations ``latents`` ``(f k)`` of the model of a half, in the coordinates of ``motion`` ``(f m)``."""
        z, where = (torch.from_numpy(values.astype(np.float32)) for values in (latents, self.landmarks))
        return self.motion_axes.coordinates(_displacements(trained, where, z) - self.motion_center[trained.half])


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
    landmarks = some_landmarks(halves[0])
    motion_axes, centers, motion = _motion(halves, landmarks)
    return ConformationSpace(
        rows=rows[order],
        half=np.concatenate([np.full(len(part.rows), part.half, dtype=np.int64) for part in halves])[order],
        latents=everyone[order],
        pca=pca[order],
        motion=motion[order],
        latent_axes=axes,
        motion_axes=motion_axes,
        motion_center=centers,
        landmarks=landmarks.double().numpy(),
        shared=shared,
    )


def some_landmarks(trained: TrainedHalf, most: int = LANDMARKS) -> Tensor:
    """At most so many points ``(n 3)`` of a half's density, evenly drawn."""
    points = trained.model.density.landmarks().detach()
    generator = torch.Generator().manual_seed(0)
    return points[torch.randperm(len(points), generator=generator)[:most].sort().values]


def _motion(halves: list[TrainedHalf], landmarks: Tensor) -> tuple[PrincipalAxes, dict[int, Array], Array]:
    """The common principal axes of the displacements of both halves, what was taken off each half, and the coordinates
    ``(p m)`` in these axes.

    The axes are those of at most 4,000 particles; the others are projected a few at a time.
    """
    fitted = {}
    for part in halves:
        step = max(1, -(-len(part.rows) // (_FITTED // 2)))
        fitted[part.half] = _displacements(part, landmarks, part.latents.mean[::step])
    centers = {half: values.mean(axis=0) for half, values in fitted.items()}
    centred = np.concatenate([values - centers[half] for half, values in fitted.items()])
    axes = principal_axes(centred, min(MOST_AXES, max(2, halves[0].latents.mean.shape[1])))
    coordinates = [
        axes.coordinates(_displacements(part, landmarks, some) - centers[part.half])
        for part in halves
        for some in part.latents.mean.split(_AT_ONCE)
    ]
    return axes, centers, np.concatenate(coordinates)


def _displacements(trained: TrainedHalf, landmarks: Tensor, latents: Tensor) -> Array:
    """Displacements as rows ``(b 3n)``, scaled so that the length of a row is the rms over the landmarks in Å."""
    moved = trained.displacements(latents, landmarks).double().numpy()
    return np.asarray(moved.reshape(len(moved), -1) / np.sqrt(len(landmarks)))
