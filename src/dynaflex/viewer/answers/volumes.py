"""Volumes as messages: conformations and maps, quantised and cropped, and planes of maps."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dynaflex.grid import Grid
from dynaflex.results.volumes import coarse, merged_map
from dynaflex.run.directory import Run
from dynaflex.run.files import FSC, has_map, read_map
from dynaflex.run.watched import state_of
from dynaflex.shapes import FloatArray
from dynaflex.viewer.answers.wire import LEVELS, pack, quantised
from dynaflex.viewer.density.colourings import ColourMaps, Range, listed
from dynaflex.viewer.density.decoder import SIZES
from dynaflex.viewer.density.window import Molecule, Window

_CORRECTED = "corrected"
_LABELS = {"rigid": "rigid", _CORRECTED: "corrected for the motion"}
_FILES = {"rigid": "rigid", _CORRECTED: "map"}
_PLANES = {"x": 2, "y": 1, "z": 0}
"""The axis of a map ``[z, y, x]`` that is across a plane."""
_SEEN = (0.2, 99.95)
"""Between which percentiles of a map its planes run from black to white."""


class RunMaps:
    """The rigid and the corrected map of a run, merged and of each half, and what their surfaces can be coloured by.

    Identifiers are ``rigid`` and ``corrected``, and with 1 or 2 behind it the half-map.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._colours = ColourMaps(run)
        self._shown = lru_cache(maxsize=4)(self._show)
        self._whole = lru_cache(maxsize=3)(self._read)

    def listed(self) -> list[dict[str, str]]:
        """The maps that exist: ``id`` and ``label``."""
        found = [{"id": name, "label": label} for name, label in _LABELS.items() if self._paths(name)]
        for half in (1, 2):
            found += [
                {"id": f"{name}{half}", "label": f"half {half}, {label}"}
                for name, label in _LABELS.items()
                if self._paths(f"{name}{half}")
            ]
        return found

    def colours(self) -> list[dict[str, str]]:
        """What there is to colour by: ``id``, ``label`` and ``unit``."""
        return [listed(name) for name in self._colours.names()]

    def packed(self, identifier: str, colour: str | None, side: list[float]) -> bytes:
        """A message with a map in a window around the molecule, and perhaps a map of colours.

        ``side`` is the camera that goes with it, nine numbers.

        Raises:
            KeyError: there is no such map or colour.
        """
        density, window, level = self._shown(identifier, self._version(identifier))
        header: dict[str, Any] = {"id": identifier, "level": level, "side": side}
        if colour is None:
            return pack_volume(header, density, window)
        values = self._colours.within(colour, window)
        return pack_volume(header, density, window, (values, Range.of(colour, values[density > level])))

    def section(self, identifier: str, axis: str, at: int) -> bytes:
        """A message with the plane across an ``axis`` through its voxel ``at``, uint16, of a whole map without a mask.

        Columns run along x, or y where that is across; rows along y, or z. ``low`` and ``high`` are the densities that
        are black and white, ``least`` and ``step`` those of the first count and between two.

        Raises:
            KeyError: there is no such map or plane.
        """
        volume, grid, seen = self._whole(identifier, self._version(identifier))
        if not 0 <= at < grid.box:
            raise KeyError(at)
        plane: FloatArray = np.take(volume, [at], axis=_PLANES[axis]).squeeze(_PLANES[axis])
        least, most = float(plane.min()), float(plane.max())
        header = {"box": grid.box, "pixel_size": grid.pixel_size, "low": seen[0], "high": seen[1]}
        step = max(most - least, 1e-12) / LEVELS
        return pack({**header, "least": least, "step": step}, quantised(plane, least, most, np.uint16))

    def _show(self, identifier: str, version: object) -> tuple[FloatArray, Window, float]:
        """A map where the merged corrected one, or else it itself, shows the molecule; and its contour."""
        volume, grid, _ = self._whole(identifier, version)
        seen = self._whole(_CORRECTED, self._version(_CORRECTED))[0] if self._paths(_CORRECTED) else volume
        molecule = Molecule.of(coarse(self.run, torch.from_numpy(seen), grid), grid)
        window = Window.around(grid.points()[molecule.weight.flatten() > 0], grid, SIZES["fine"])
        shown = torch.from_numpy(volume)
        return window.cut(shown * molecule.weight).numpy(), window, molecule.level(shown)

    def _read(self, identifier: str, _version: object) -> tuple[FloatArray, Grid, tuple[float, float]]:
        """A map ``(d d d)``, its grid, and the densities that are shown black and white."""
        if identifier in _FILES:
            volume, grid = merged_map(self.run, _FILES[identifier])
            data = volume.numpy()
        else:
            found = read_map(self.run, self._names(identifier)[0])
            data, grid = found.data, Grid(found.box, found.pixel_size or 1.0)
        low, high = np.percentile(data, _SEEN)
        return data, grid, (float(low), float(high))

    def _version(self, identifier: str) -> object:
        """Changes when the map does.

        Raises:
            KeyError: there is no such map.
        """
        paths = self._paths(identifier)
        if not paths:
            raise KeyError(identifier)
        return tuple(state_of(path) for path in paths)

    def _paths(self, identifier: str) -> list[Path]:
        """The files that a map is made of; none if one of them is missing, or there is no such map."""
        names = self._names(identifier)
        if not all(has_map(self.run, name) for name in names) or (len(names) > 1 and not self.run.files.has(FSC)):
            return []
        return [self.run.maps / f"{name}.mrc" for name in names] + ([self.run.path / FSC] if len(names) > 1 else [])

    def _names(self, identifier: str) -> list[str]:
        """The maps of the run that a map is made of; none where there is no such map."""
        if identifier == _CORRECTED:
            return ["map"]
        if identifier in _FILES:
            return [f"{_FILES[identifier]}_half{half}" for half in (1, 2)]
        if identifier[:-1] in _FILES and identifier[-1] in "12":
            return [f"{_FILES[identifier[:-1]]}_half{identifier[-1]}"]
        return []


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
