"""Whether two maps hold the same density in different places: one is docked onto the other as a rigid body.

This is a diagnosis, and no resolution: what it takes to lay one half-map over the other was learned from both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import map_coordinates, spline_filter
from scipy.spatial.transform import Rotation

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.shapes import Array, Tensor
from dynaflex.validate.fsc import FscCurves, fsc_curves

AGREES = 0.5
"""The FSC down to which shells are docked by: where signal and noise of a half-map are equally strong."""
_FEWEST_SHELLS = 3
_ORDER = 5
_ROUNDS, _SETTLED = 40, 1e-3
_STEP = 0.02
"""What derivatives are taken over, in Å."""
_SAMPLES = 2.8
"""Samples in the shortest period that is looked at: quintic splines are good to a thousandth there."""
_INSIDE = 0.05
"""Where the mask is less, a voxel would say next to nothing."""
_LARGEST = 0.98


@dataclass(frozen=True)
class Docking:
    """The rigid motion that lays the first map over the second, within a part: x of the second is ``rotation``
    ``(3 3)`` (x - ``centre``) + ``centre`` + ``translation`` of the first, in Å from the middle of the box.

    ``angle`` in degrees and ``shift`` of the centre in Å are how far the two rest apart, ``angle_error`` and
    ``shift_error`` the standard errors of the whole vectors: noise alone turns and moves by about so much.
    ``displacement`` in Å is how far both move the part, rms. ``resolution`` in Å is the finest that was looked at;
    ``before`` and ``after`` are the correlations.
    """

    rotation: Array
    centre: Array
    translation: Array
    angle: float
    angle_error: float
    shift: float
    shift_error: float
    displacement: float
    resolution: float
    before: float
    after: float

    def as_dict(self) -> dict[str, float]:
        """JSON-ready, but for the motion itself."""
        names = ("angle", "angle_error", "shift", "shift_error", "displacement", "resolution", "before", "after")
        return {name: float(getattr(self, name)) for name in names}

    def moved(self, points: Array) -> Array:
        """Where places ``(n 3)`` of the second map are in the first."""
        return np.asarray((points - self.centre) @ self.rotation.T + self.centre + self.translation)

    def carried(self, first: Tensor, grid: Grid, mask: Tensor) -> Tensor:
        """The ``first`` map ``(d d d)`` laid over the second within the ``mask`` ``(d d d)``, by quintic splines; as it
        was everywhere else."""
        inside = (mask > 0.0).flatten()
        splines = spline_filter(first.double().numpy(), _ORDER, mode="grid-wrap")
        laid_over = first.flatten().clone()
        there = self.moved(grid.points().double()[inside].numpy())
        laid_over[inside] = torch.from_numpy(_read(splines, there, grid)).to(first.dtype)
        return laid_over.view(first.shape)


def dock(first: Tensor, second: Tensor, pixel_size: float, mask: Tensor, seen: FscCurves) -> Docking | None:
    """Lay the ``first`` map ``(d d d)`` over the ``second`` by what lies within the ``mask`` ``(d d d)`` of that.

    ``seen`` are the FSCs of the two as they stand. Only shells below the first where the corrected FSC falls under 0.5
    are looked at, each divided by the noise that they tell; what a docking brings to agree is looked at as well, once.
    The weighted correlation within the mask is raised by steps of Gauss-Newton in three angles and three shifts, from
    where the maps stand: coarsely first, so that it finds what lies within about half the resolution they agree at.
    Errors are those of least squares, from what is left and how many independent coefficients the shells have.

    None where the maps agree on too little for that.
    """
    grid = Grid(first.shape[-1], pixel_size)
    if float(mask.sum()) == 0.0:
        return None
    found, curve = None, seen.corrected
    for _ in range(2):
        last = _agreeing(curve)
        if last < _FEWEST_SHELLS:
            return found
        part = _Part.of(first, second, grid, mask, curve, last)
        start = np.zeros(6) if found is None else part.parameters(found)
        for coarse in [max(_FEWEST_SHELLS, last // 2)] if found is None and last > _FEWEST_SHELLS else []:
            start = _Part.of(first, second, grid, mask, curve, coarse).best(start)
        found = part.docked(part.best(start))
        docked = fsc_curves(found.carried(first, grid, mask), second, pixel_size, mask)
        curve = torch.maximum(curve, docked.corrected)
    return found


def _agreeing(curve: Tensor) -> int:
    """The last shell below the first one in which two maps do not agree."""
    below = (curve[1:] < AGREES).nonzero()
    return int(below[0]) if len(below) else len(curve) - 2


@dataclass(frozen=True)
class _Part:
    """Both maps filtered to what they agree on, on a ``grid`` that is fine enough for it: the first as the coefficients
    of ``splines`` ``(d d d)``, the second as ``values`` ``(v)`` at the ``points`` ``(v 3)`` of the part, where the mask
    is ``weight`` ``(v)``.

    Turns are about the ``centre`` ``(3)``, and counted in Å at the ``radius`` of the part. Of ``oversampled`` voxels
    one is independent. ``resolution`` in Å is the finest that was kept.
    """

    grid: Grid
    splines: Array
    values: Array
    points: Array
    weight: Array
    centre: Array
    radius: float
    oversampled: float
    resolution: float

    @classmethod
    def of(cls, first: Tensor, second: Tensor, grid: Grid, mask: Tensor, curve: Tensor, last: int) -> _Part:
        """Shells up to ``last`` are kept, and divided by the noise in them that the FSC ``curve`` ``(s)`` tells."""
        shells = torch.arange(grid.n_shells)
        transforms = [fourier.transform(volume.double(), 3) for volume in (first, second)]
        power = sum(fourier.shell_mean(one.abs().square(), grid, 3) for one in transforms)
        assert isinstance(power, torch.Tensor)
        noise = (1.0 - curve.double().clamp(max=_LARGEST)) * power
        kept = torch.where((shells <= last) & (noise > 0.0), noise.clamp(min=1e-300).rsqrt(), 0.0)
        filters = fourier.spread_shells(kept, grid, 3) * (grid.shells(3) <= last)
        coarse = grid.cropped(min(grid.box, 2 * math.ceil(0.5 * _SAMPLES * last)))
        one, other = (fourier.inverse_transform(part * filters, 3) for part in transforms)
        one, other, part = (fourier.resize(volume, coarse.box, 3) for volume in (one, other, mask.double()))
        inside = part > _INSIDE
        points, weight = coarse.points().double()[inside.flatten()].numpy(), part[inside].clamp(max=1.0).numpy()
        centre = weight @ points / weight.sum()
        coefficients = fourier.hermitian_weights(grid, 3) * (grid.shells(3) <= last)
        return cls(
            grid=coarse,
            splines=spline_filter(one.numpy(), _ORDER, mode="grid-wrap"),
            values=other[inside].numpy(),
            points=points,
            weight=weight,
            centre=centre,
            radius=float(np.sqrt(weight @ np.square(points - centre).sum(axis=1) / weight.sum())),
            oversampled=coarse.box**3 / float(coefficients.sum()),
            resolution=1.0 / float(grid.shell_frequencies()[last]),
        )

    def best(self, start: Array) -> Array:
        """The parameters ``(6)``, a turn and a shift in Å, at which the correlation is highest."""
        here, damping = start, 1e-3
        misfit, left, slopes = self._linearised(here)
        for _ in range(_ROUNDS):
            curvature = slopes.T @ slopes
            step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), slopes.T @ left)
            there = self._linearised(here - step)
            if there[0] < misfit:
                here, damping = here - step, 0.2 * damping
                misfit, left, slopes = there
                if np.abs(step).max() < _SETTLED:
                    break
            else:
                damping *= 10.0
                if damping > 1e6:
                    break
        return here

    def docked(self, parameters: Array) -> Docking:
        """What parameters ``(6)`` mean, with their errors."""
        misfit, _, slopes = self._linearised(parameters)
        # What is left has the variance of noise in a voxel, and of so many voxels only some are independent.
        variance = misfit / np.square(self.weight).sum() * self.oversampled
        errors = variance * np.linalg.inv(slopes.T @ slopes)
        turn, shift = parameters[:3] / self.radius, parameters[3:]
        rotation = Rotation.from_rotvec(turn).as_matrix()
        travelled = (self.points - self.centre) @ (rotation - np.eye(3)).T + shift
        return Docking(
            rotation=rotation,
            centre=self.centre,
            translation=shift,
            angle=float(np.degrees(np.linalg.norm(turn))),
            angle_error=float(np.degrees(np.sqrt(np.trace(errors[:3, :3])) / self.radius)),
            shift=float(np.linalg.norm(shift)),
            shift_error=float(np.sqrt(np.trace(errors[3:, 3:]))),
            displacement=float(np.sqrt(np.average(np.square(travelled).sum(axis=1), weights=self.weight))),
            resolution=self.resolution,
            before=self._correlation(np.zeros(6)),
            after=self._correlation(parameters),
        )

    def parameters(self, found: Docking) -> Array:
        """Those of a docking that was found of the same part."""
        turn = Rotation.from_matrix(found.rotation).as_rotvec() * self.radius
        return np.concatenate([turn, found.translation])

    def _moved(self, parameters: Array) -> Array:
        """The first map at the points, where parameters ``(6)`` take them, behind the mask, ``(v)``."""
        rotation = Rotation.from_rotvec(parameters[:3] / self.radius).as_matrix()
        where = (self.points - self.centre) @ rotation.T + self.centre + parameters[3:]
        return self.weight * _read(self.splines, where, self.grid)

    def _correlation(self, parameters: Array) -> float:
        one, other = self._moved(parameters), self.weight * self.values
        return float(one @ other / np.sqrt((one @ one) * (other @ other)))

    def _linearised(self, parameters: Array) -> tuple[float, Array, Array]:
        """What the first map leaves of the second at its best scale: the square of that, itself ``(v)``, and its
        derivatives ``(v 6)``."""
        target, here = self.weight * self.values, self._moved(parameters)
        scale = float(here @ target / (here @ here))
        left = scale * here - target
        slopes = np.stack([self._moved(parameters + step) - here for step in _STEP * np.eye(6)], axis=1) / _STEP
        # The scale follows: what it takes up is no slope.
        slopes = scale * (slopes - np.outer(here, here @ slopes) / (here @ here))
        return float(left @ left), left, slopes


def _read(splines: Array, points: Array, grid: Grid) -> Array:
    """A map at ``points`` ``(v 3)`` in Å (x, y, z), from its splines ``(d d d)``."""
    where = points[:, ::-1] / grid.pixel_size + grid.box // 2
    return np.asarray(map_coordinates(splines, where.T, order=_ORDER, mode="grid-wrap", prefilter=False))
