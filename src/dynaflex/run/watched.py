"""A run that is looked at and never touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dynaflex.run.directory import Run


class WatchedRun(Run):
    """A run that is only looked at: what would be noted in it is kept in ``notices``."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.notices: list[str] = []

    def warn(self, message: str) -> None:
        """Keep a warning for the page."""
        if message not in self.notices:
            self.notices.append(message)

    def log(self, message: str) -> None:
        """Write nothing."""

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Refuse: the explorer writes nothing but selections."""
        raise PermissionError(f"{name} is only looked at")


def state_of(path: Path) -> tuple[int, int] | None:
    """When a file was written last, and its size; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
