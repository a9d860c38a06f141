"""What a run directory holds, read so that a stopped or damaged run still gets its report."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dynaflex.errors import DynaflexError
from dynaflex.io.mrc import MrcMap, read_map
from dynaflex.mesh.segments import LabelledMesh
from dynaflex.pipelines.mesh_store import load_mesh
from dynaflex.report.conformations import Conformations, five_conformations
from dynaflex.shapes import Array

_T = TypeVar("_T")
Record = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Slices:
    """The three central slices (xy, xz, yz), each ``(d d)`` with the later axis up, and the pixel size in Å."""

    planes: tuple[Array, Array, Array]
    pixel_size: float


@dataclass
class RunFiles:
    """Reads the files of a run; one that is absent or damaged gives None and a reason in ``absent``."""

    run: Path
    absent: dict[str, str] = field(default_factory=dict)

    def record(self, name: str) -> Record | None:
        """A JSON object."""

        def read(path: Path) -> Record:
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError("not a JSON object")
            return content

        return self._read(name, read)

    def lines(self, name: str) -> list[Record] | None:
        """The JSON objects of a file with one per line; a last line that was cut off is left out."""

        def read(path: Path) -> list[Record]:
            text = path.read_text(encoding="utf-8")
            whole = text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]
            parsed = [json.loads(line) for line in whole if line.strip()]
            if not parsed:
                raise ValueError("no lines yet")
            return [line for line in parsed if isinstance(line, dict)]

        return self._read(name, read)

    def arrays(self, name: str, *required: str) -> Arrays | None:
        """The arrays of a NumPy archive, which must hold those ``required``."""

        def read(path: Path) -> Arrays:
            with np.load(path, allow_pickle=False) as archive:
                content = {key: archive[key] for key in archive.files}
            for key in required:
                if key not in content:
                    raise ValueError(f"no array called {key}")
            return content

        return self._read(name, read)

    def mesh(self) -> LabelledMesh | None:
        """The mesh that carried the density, with its segments."""
        return self._read("mesh.npz", load_mesh)

    def volume(self, name: str) -> MrcMap | None:
        """A whole map."""
        return self._read(name, read_map)

    def conformations(self, resolution: float) -> Conformations | None:
        """What the trained model of half 1 makes of its map, low-passed to ``resolution`` Å."""
        if "maps/map_half1.mrc" in self.absent:
            return None
        return self._read("checkpoints", lambda _: five_conformations(self.run, resolution))

    def mean_slices(self, first: str, second: str) -> Slices | None:
        """Central slices of the mean of two half-maps."""
        parts = [self._read(name, _central_slices) for name in (first, second)]
        if parts[0] is None or parts[1] is None:
            return None
        planes = [(a + b) / 2 for a, b in zip(parts[0].planes, parts[1].planes, strict=True)]
        return Slices((planes[0], planes[1], planes[2]), parts[0].pixel_size)

    def _read(self, name: str, read: Callable[[Path], _T]) -> _T | None:
        path = self.run / name
        if not path.exists():
            self.absent[name] = "not in the run directory"
            return None
        try:
            return read(path)
        except DynaflexError as error:
            self.absent[name] = f"cannot be read: {error.problem}"
        except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
            self.absent[name] = f"cannot be read: {error}"
        return None


def _central_slices(path: Path) -> Slices:
    volume = read_map(path)
    middle = volume.box // 2
    data = volume.data
    planes = (data[middle].copy(), data[:, middle].copy(), data[:, :, middle].copy())
    return Slices(planes, volume.pixel_size or 1.0)  # type: ignore[arg-type]
