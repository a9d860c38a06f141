"""Volumes as messages: conformations and half-maps, quantised and cropped."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynaflex.grid import Grid
from dynaflex.pipelines.predict import config_of
from dynaflex.pipelines.volumes import merged_map
from dynaflex.run.directory import Run
from dynaflex.shapes import FloatArray, Tensor
from dynaflex.viewer.colourings import ColourMaps, Range, listed
from dynaflex.viewer.decoder import SIZES
from dynaflex.viewer.watched import state_of
from dynaflex.viewer.window import Molecule, Window
from dynaflex.viewer.wire import LEVELS, pack, quantised

_CORRECTED = "corrected"
_MAPS = {_CORRECTED: "map", "rigid": "rigid"}


class HalfMaps:
    """The rigid and the corrected half-maps of a run, and what their surfaces can be coloured by."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._colours = ColourMaps(run)
        self._read = lru_cache(maxsize=4)(self._read_map)

    def names(self) -> list[str]:
        """The kinds of map that exist in both halves."""
        return [name for name in _MAPS if self._exists(name)]

    def colours(self) -> list[dict[str, str]]:
        """The maps of colours that exist: ``id``, ``label`` and ``unit``."""
        return [listed(name) for name in self._colours.names()]

    def packed(self, identifier: str, colour: str | None, side: list[float]) -> bytes:
        """A message with the mean of two half-maps in a window around the molecule, and perhaps a map of colours.

        ``side`` is the camera that goes with it, nine numbers.

        Raises:
            KeyError: there is no such map or colour.
        """
        density, window, level = self._read(identifier, state_of(self._half_maps(identifier)[0]))
        header: dict[str, Any] = {"id": identifier, "level": level, "side": side}
        if colour is None:
            return pack_volume(header, density, window)
        values = self._colours.within(colour, window)
        return pack_volume(header, density, window, (values, Range.of(colour, values[density > level])))

    def _read_map(self, identifier: str, _version: object) -> tuple[FloatArray, Window, float]:
        """The mean of two half-maps where the corrected ones, or else these, show the molecule; and its contour."""
        mean, grid = self._mean_map(identifier)
        seen = self._mean_map(_CORRECTED)[0] if self._exists(_CORRECTED) else mean
        molecule = Molecule.of(seen, grid, max(config_of(self.run).shared_resolution, 4 * grid.pixel_size))
        window = Window.around(grid.points()[molecule.weight.flatten() > 0], grid, SIZES["fine"])
        return window.cut(mean * molecule.weight).numpy(), window, molecule.level(mean)

    def _mean_map(self, identifier: str) -> tuple[Tensor, Grid]:
        return merged_map(self.run, _MAPS[identifier])

    def _exists(self, identifier: str) -> bool:
        merged = self.run.maps / "map.mrc" if identifier == _CORRECTED else self.run.path / "fsc.json"
        return all(path.exists() for path in (*self._half_maps(identifier), merged))

    def _half_maps(self, identifier: str) -> list[Path]:
        return [self.run.maps / f"{_MAPS[identifier]}_half{half}.mrc" for half in (1, 2)]


def pack_volume(
    header: dict[str, Any],
    density: FloatArray,
    window: Window,
    colour: tuple[FloatArray, Range] | None = None,
    more: dict[str, FloatArray] | None = None,
) -> bytes:
    """Density as uint16 and colours as uint8 over their range, cropped to where the density is more than hardly any.

    ``layers`` names the arrays: ``density``, ``colour`` if there is one, and the names of ``more``. ``step`` is the
    density of one count, ``origin`` x, y, z of the first voxel in Å from the centre of the box.
    """
    where = np.argwhere(density > 0.02 * header["level"])
    low, high = (where.min(axis=0), where.max(axis=0) + 1) if len(where) else (np.zeros(3, int), np.full(3, 2))
    # A frame of one voxel lets every surface close.
    low, high = np.maximum(low - 1, 0), np.minimum(high + 1, density.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    top = float(max(density.max(), 1e-12))
    layers: dict[str, NDArray[Any]] = {"density": quantised(density[box], 0.0, top, np.uint16)}
    if colour is not None:
        values, within = colour
        layers["colour"] = quantised(values[box], *within.limits, np.uint8)
    layers |= more or {}
    pixel_size = window.grid.pixel_size
    corner = (np.asarray(low[::-1]) - window.grid.center) * pixel_size + window.center.numpy()
    geometry = {
        "layers": list(layers),
        "pixel_size": pixel_size,
        "origin": [float(value) for value in corner],
        "box_center": [float(value) for value in window.center],
        "width": window.grid.width,
        "step": top / LEVELS,
        "colour": None if colour is None else colour[1].header(),
        "colour_limits": None if colour is None else list(colour[1].limits),
    }
    return pack({**header, **geometry}, *layers.values())
