"""The maps of a run, from Python, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dynaflex.io.mrc import MrcMap
    from dynaflex.run.directory import Run as Directory


class Maps(Mapping[str, "MrcMap"]):
    """The maps of a run by name: ``map``, ``map_half1``, ``rigid_half2``, ``mask``, ``local_resolution`` and so on.

    Each is read when it is asked for, as :func:`read_map` gives it.

    Raises:
        DamagedCheckpointError: a map is not what the run wrote.
    """

    def __init__(self, run: Directory) -> None:
        self._run = run

    def __getitem__(self, name: str) -> MrcMap:
        from dynaflex.run.files import has_map, read_map

        if not has_map(self._run, name):
            raise KeyError(name)
        return read_map(self._run, name)

    def __iter__(self) -> Iterator[str]:
        listed = (Path(name) for name in self._run.files.names())
        return iter(sorted(path.stem for path in listed if path.parts[0] == "maps" and path.suffix == ".mrc"))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<maps: {', '.join(self) or 'none yet'}>"

    def path(self, name: str) -> Path:
        """The file of a map, for :func:`fsc` and other programs.

        Raises:
            UsageError: the run has not made it yet.
            DamagedCheckpointError: it is not what the run wrote.
        """
        return self._run.verified(f"maps/{name}.mrc")
