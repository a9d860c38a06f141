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
from dynaflex.prepare.mesh_store import load_mesh
from dynaflex.run.directory import Run
from dynaflex.run.files import MESH
from dynaflex.run.ledger import Ledger
from dynaflex.run.metrics import METRICS
from dynaflex.shapes import Array, FloatArray

_T = TypeVar("_T")
NOT_THERE = "not in the run directory"
Record = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class MeanMap:
    """The mean of two half-maps, ``[z, y, x]``, and its pixel size in Å."""

    data: FloatArray
    pixel_size: float

    def slices(self) -> tuple[Array, Array, Array]:
        """The three central slices (xy, xz, yz), each ``(d d)`` with the later axis up."""
        middle = self.data.shape[0] // 2
        first, second, third = (self.data.take(middle, axis).astype(np.float64) for axis in range(3))
        return first, second, third


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

    def optional(self, name: str) -> Record | None:
        """A JSON object that not every run has: one that was never written is not ``absent``."""
        found = self.record(name)
        if self.absent.get(name) == NOT_THERE:
            del self.absent[name]
        return found

    def metrics(self) -> list[Record] | None:
        """The figures of the training, a line an epoch."""

        def read(_: Path) -> list[Record]:
            found = Run(self.run).metrics.lines()
            if not found:
                raise ValueError("no lines yet")
            return found

        return self._read(METRICS, read)

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
        return self._read(MESH, load_mesh)

    def volume(self, name: str) -> MrcMap | None:
        """A whole map."""
        return self._read(name, read_map)

    def of_the_model(self, ask: Callable[[Path], _T]) -> _T | None:
        """What the trained model of half 1 answers."""
        return self._read("checkpoints", lambda _: ask(self.run))

    def mean_map(self, first: str, second: str) -> MeanMap | None:
        """The mean of two half-maps."""
        parts = [self._read(name, read_map) for name in (first, second)]
        if parts[0] is None or parts[1] is None:
            return None
        mean = np.asarray((parts[0].data + parts[1].data) / 2, dtype=np.float32)
        return MeanMap(mean, parts[0].pixel_size or 1.0)

    def faults(self) -> dict[str, str]:
        """Why files are not used that the run has written, by their names."""
        return {name: reason for name, reason in self.absent.items() if reason != NOT_THERE}

    def _read(self, name: str, read: Callable[[Path], _T]) -> _T | None:
        path = self.run / name
        try:
            fault = Ledger(self.run).fault(name)
            if fault is not None:
                raise ValueError(fault)
            if path.exists():
                return read(path)
            self.absent[name] = NOT_THERE
        except DynaflexError as error:
            self.absent[name] = f"cannot be read: {error.problem}"
        except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
            self.absent[name] = f"cannot be read: {error}"
        return None
