"""Volumes as messages: conformations and half-maps, quantised and cropped."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynaflex.grid import Grid
from dynaflex.io.mrc import read_map
from dynaflex.pipelines.predict import config_of
from dynaflex.pipelines.run import Run
from dynaflex.pipelines.volumes import low_passed
from dynaflex.shapes import FloatArray, Tensor
from dynaflex.viewer.decoder import SIZES
from dynaflex.viewer.window import Molecule, Window
from dynaflex.viewer.wire import LEVELS, pack, quantised

_CORRECTED = "corrected"
_MAPS = {_CORRECTED: "map", "rigid": "rigid"}
_COLOURS = {
    "local_resolution": ("local resolution", "Å", "local_resolution.mrc"),
    "deformation_error": ("uncertainty of the motion", "Å", "deformation_error.mrc"),
}


class HalfMaps:
    """The rigid and the corrected half-maps of a run, and what their surfaces can be coloured by."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._read = lru_cache(maxsize=4)(self._read_map)

    def names(self) -> list[str]:
        """The kinds of map that exist in both halves."""
        return [name for name in _MAPS if self._exists(name)]

    def colours(self) -> list[dict[str, str]]:
        """The maps of colours that exist: ``id``, ``label`` and ``unit``."""
        return [
            {"id": name, "label": label, "unit": unit}
            for name, (label, unit, file) in _COLOURS.items()
            if (self.run.maps / file).exists()
        ]

    def packed(self, identifier: str, colour: str | None, side: list[float]) -> bytes:
        """A message with the mean of two half-maps in a window around the molecule, and perhaps a map of colours.

        ``side`` is the camera that goes with it, nine numbers.

        Raises:
            KeyError: there is no such map or colour.
        """
        density, window, level = self._read(identifier, state_of(self._half_maps(identifier)[0]))
        header: dict[str, Any] = {"id": identifier, "level": level, "side": side, "colour": None}
        if colour is None:
            return pack_volume(header, density, window, None, (0.0, 1.0))
        label, unit, file = _COLOURS[colour]
        values = window.sampled(read_map(self.run.maps / file).data)
        seen = values[density > level]
        low, high = (float(np.percentile(seen, share)) for share in (2, 98)) if seen.size else (0.0, 1.0)
        header["colour"] = {"label": label, "unit": unit, "low": low, "high": max(high, low + 1e-3)}
        return pack_volume(header, density, window, values, (low, max(high, low + 1e-3)))

    def _read_map(self, identifier: str, _version: object) -> tuple[FloatArray, Window, float]:
        """The mean of two half-maps where the corrected ones, or else these, show the molecule; and its contour."""
        mean, grid = self._mean_map(identifier)
        seen = self._mean_map(_CORRECTED)[0] if self._exists(_CORRECTED) else mean
        molecule = Molecule.of(seen, grid, max(config_of(self.run).shared_resolution, 4 * grid.pixel_size))
        window = Window.around(grid.points()[molecule.weight.flatten() > 0], grid, SIZES["fine"])
        return window.cut(mean * molecule.weight).numpy(), window, molecule.level(mean)

    def _mean_map(self, identifier: str) -> tuple[Tensor, Grid]:
        first, second = (read_map(path) for path in self._half_maps(identifier))
        both: FloatArray = (first.data + second.data) * np.float32(0.5)
        return low_passed(both, first.data, second.data, Grid(first.box, first.pixel_size or 1.0), 0.143)

    def _exists(self, identifier: str) -> bool:
        return all(path.exists() for path in self._half_maps(identifier))

    def _half_maps(self, identifier: str) -> list[Path]:
        return [self.run.maps / f"{_MAPS[identifier]}_half{half}.mrc" for half in (1, 2)]


def pack_volume(
    header: dict[str, Any], density: FloatArray, window: Window, colour: FloatArray | None, limits: tuple[float, float]
) -> bytes:
    """Density as uint16 and colours as uint8 between ``limits``, cropped to where the density is more than hardly any.

    ``step`` is the density of one count, ``origin`` x, y, z of the first voxel in Å from the centre of the box.
    """
    where = np.argwhere(density > 0.02 * header["level"])
    low, high = (where.min(axis=0), where.max(axis=0) + 1) if len(where) else (np.zeros(3, int), np.full(3, 2))
    # A frame of one voxel lets every surface close.
    low, high = np.maximum(low - 1, 0), np.minimum(high + 1, density.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    top = float(max(density.max(), 1e-12))
    arrays: list[NDArray[Any]] = [quantised(density[box], 0.0, top, np.uint16)]
    if colour is not None:
        arrays.append(quantised(colour[box], *limits, np.uint8))
    pixel_size = window.grid.pixel_size
    corner = (np.asarray(low[::-1]) - window.grid.center) * pixel_size + window.center.numpy()
    geometry = {
        "pixel_size": pixel_size,
        "origin": [float(value) for value in corner],
        "box_center": [float(value) for value in window.center],
        "width": window.grid.width,
        "step": top / LEVELS,
        "colour_limits": list(limits),
    }
    return pack({**header, **geometry}, *arrays)


def state_of(path: Path) -> tuple[int, int] | None:
    """When a file was written last, and its size; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
