"""The images of some particles, and what the model makes of each: read when they are asked for, never a whole stack."""

from __future__ import annotations

import shlex
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dynaflex import fourier
from dynaflex.data import preprocess
from dynaflex.data.particles import Particles, read_particles
from dynaflex.errors import InputError, UsageError
from dynaflex.grid import Grid
from dynaflex.imaging.ctf import transfer_function
from dynaflex.imaging.pose import Pose
from dynaflex.io import durable
from dynaflex.results.settings import inputs_of
from dynaflex.results.trained import TrainedHalf, config_of
from dynaflex.run.directory import PROVENANCE, Run
from dynaflex.run.files import read_grids
from dynaflex.shapes import FloatArray, IntArray, Tensor
from dynaflex.viewer.answers.stage import Stage
from dynaflex.viewer.answers.wire import pack, quantised

AT_ONCE = 24
"""The images of a page."""
_LARGEST_BOX = 96
_SEEN = (0.5, 99.8)


class ParticleImages:
    """The images of a run's particles, looked for in ``datadir``, if there is one, and where the run found them."""

    def __init__(self, run: Run, datadir: Path | None) -> None:
        self.run, self._datadir = run, datadir
        self._pairs = lru_cache(maxsize=2)(self._read_pairs)

    @cached_property
    def particles(self) -> Particles:
        """The particles with their poses, optics and images.

        Raises:
            InputError: the table or the images are not there any more.
        """
        provenance = self.run.read_json(PROVENANCE)
        inputs, config = inputs_of(self.run), config_of(self.run)
        known = provenance.get("fingerprint", {}).get("particles", {}).get("sha256")
        table = inputs.particles
        if not table.is_file() or known not in (None, durable.sha256(table)):
            table = self.run.path / "particles.star"
        datadir = self._datadir or inputs.datadir or (None if table == inputs.particles else inputs.particles.parent)
        grid = read_grids(self.run).full
        try:
            return read_particles(
                table, datadir, config.seed,
                class_number=config.class_number, grid=grid, strip_prefix=inputs.strip_prefix,
            )  # fmt: skip
        except InputError as error:
            raise self._unreadable(error) from error

    @property
    def grid(self) -> Grid:
        """The grid that images are shown on: that of the training, of at most 96 pixels a side."""
        train = read_grids(self.run).train
        return train.cropped(min(train.box, _LARGEST_BOX))

    def positions(self, rows: IntArray) -> IntArray:
        """Where the particles in these rows of the input table are among those read, ``(b)``.

        Raises:
            UsageError: one is not in use.
        """
        known = self.particles.rows
        found = np.searchsorted(known, rows).clip(0, len(known) - 1)
        if len(rows) == 0 or (known[found] != rows).any():
            raise UsageError("view.rows", "these are no particles of this run", found=str(rows[:5].tolist()))
        return found

    def coefficients(self, positions: IntArray) -> Tensor:
        """Transforms ``(b h w)`` of images on :attr:`grid`, molecules white, with zero mean and unit variance."""
        sign = -1.0 if config_of(self.run).invert_contrast else 1.0
        try:
            diameter = preprocess.particle_diameter(self.particles.grid)
            images = self.particles.restored(self.particles.images(positions), positions, diameter)
        except InputError as error:
            raise self._unreadable(error) from error
        images = fourier.crop_images(images * sign, self.grid.box)
        images = images - images.mean(dim=(1, 2), keepdim=True)
        return fourier.transform(images / images.std(dim=(1, 2), keepdim=True), 2)

    def packed(self, stage: Stage, rows: IntArray, resolution: float) -> bytes:
        """A message with ``images`` and ``projections``, uint8 ``(b h h)``, of particles in rows of the input table.

        Both are low-passed to ``resolution`` Å. A projection is of the particle's own conformation, with its pose and
        CTF. ``z`` are its latents, and ``agreement`` is the correlation of the two pictures.

        Raises:
            UsageError: these are no particles of this run, or too many.
            InputError: the images cannot be read.
        """
        if not 0 < len(rows) <= AT_ONCE or not resolution > 0:
            raise UsageError(
                "view.rows", "that many images cannot be shown", expected=f"1 to {AT_ONCE}", found=len(rows)
            )
        coefficients, half, z = self._pairs(tuple(int(row) for row in rows), stage)
        pictures = [[low_passed(one, self.grid, resolution) for one in pair] for pair in coefficients]
        images, projections = (np.stack([pair[i] for pair in pictures]) for i in (0, 1))
        agreement = [float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in zip(images, projections, strict=True)]
        header = {
            "rows": rows.tolist(), "half": half, "z": z, "agreement": np.nan_to_num(agreement).tolist(),
            "pixel_size": self.grid.pixel_size, "layers": ["images", "projections"],
        }  # fmt: skip
        return pack(header, shades(images), shades(projections))

    def _read_pairs(
        self, rows: tuple[int, ...], stage: Stage
    ) -> tuple[list[tuple[Tensor, Tensor]], list[int], list[list[float]]]:
        """For each particle the transforms of its image and its projection, its half and its latents."""
        where = self.positions(np.array(rows))
        images = self.coefficients(where)
        order = np.argsort(stage.particles.rows, kind="stable")
        index = order[np.searchsorted(stage.particles.rows[order], rows).clip(0, len(order) - 1)]
        if (stage.particles.rows[index] != rows).any():
            raise UsageError("view.rows", "these particles have no latents", found=str(list(rows[:5])))
        half, latents = stage.particles.half[index], torch.from_numpy(stage.particles.mean[index])
        projections = torch.zeros_like(images)
        for number in np.unique(half):
            mine = np.flatnonzero(half == number)
            trained = stage.trained(int(number))
            projections[mine] = self._projections(trained, where[mine], np.array(rows)[mine], latents[mine])
        pairs = list(zip(images, projections, strict=True))
        return pairs, [int(one) for one in half], [[float(value) for value in z] for z in latents]

    @torch.no_grad()
    def _projections(self, trained: TrainedHalf, where: IntArray, rows: IntArray, latents: Tensor) -> Tensor:
        """What the model of a half expects to see of some particles, on :attr:`grid` ``(b h w)``."""
        chosen = torch.from_numpy(where)
        pose = self.particles.pose[chosen].to(torch.device("cpu"))
        if trained.poses is not None:
            own = {int(row): i for i, row in enumerate(trained.rows)}
            pose = trained.poses.corrected(torch.tensor([own[int(row)] for row in rows]), pose)
        model = trained.model
        seen = model.render(model.deformed(latents), Pose(pose.rotation, pose.shift), None)
        seen = seen * transfer_function(self.particles.ctf[chosen], model.grid)
        return fourier.crop_coefficients(seen, self.grid.box, 2)

    def _unreadable(self, error: InputError) -> InputError:
        return InputError(
            "view.images",
            f"the images of the particles cannot be read: {error.problem}",
            file=error.file,
            found=error.found,
            fix=f"dynaflex view {shlex.quote(str(self.run.path))} --datadir FOLDER, where their names begin",
        )


def low_passed(coefficients: Tensor, grid: Grid, resolution: float) -> FloatArray:
    """The image ``(h h)`` of some coefficients ``(h w)``, low-passed to ``resolution`` Å, or to what the grid holds."""
    image = fourier.inverse_transform(coefficients, 2)
    return fourier.low_pass(image, grid, max(resolution, 2.0 * grid.pixel_size)).numpy()


def shades(images: FloatArray) -> NDArray[np.uint8]:
    """Images ``(b h h)`` from black to white, each without its few darkest and brightest pixels."""
    flat = images.reshape(len(images), -1)
    low, high = (np.percentile(flat, share, axis=1)[:, None, None] for share in _SEEN)
    return quantised((images - low) / np.maximum(high - low, 1e-12), 0.0, 1.0, np.uint8)
