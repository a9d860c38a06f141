"""Selections that the user names and the server stores: the only thing the explorer writes."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dynaflex.errors import DynaflexError, EnvironmentFault, UsageError
from dynaflex.io.durable import json_bytes
from dynaflex.products.subset import write_subset
from dynaflex.run.directory import Run
from dynaflex.run.files import INPUT_CS
from dynaflex.shapes import BoolArray, IntArray
from dynaflex.viewer.particles.table import ParticleTable

FOLDER = "selections"
_MOST, _LONGEST_NAME = 999, 80


class Selections:
    """``RUN/selections``: ``selection_001.star``, a subset of the input table, and ``selection_001.json`` about it;
    ``selection_001.cs`` and ``.csg`` too where the particles are cryoSPARC's."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.folder = run / FOLDER

    def listed(self) -> list[dict[str, Any]]:
        """What is there: ``id``, ``name``, ``count`` and ``file`` of each selection, oldest first."""
        found = []
        for path in sorted(self.folder.glob("selection_[0-9][0-9][0-9].json")):
            try:
                about = json.loads(path.read_text(encoding="utf-8"))
                entry = {"id": path.stem, "name": str(about["name"]), "count": int(about["count"])}
            except (OSError, ValueError, KeyError, TypeError):
                continue
            found.append({**entry, "file": f"{FOLDER}/{path.stem}.star"})
        return found

    def save(self, name: str, chosen: BoolArray, particles: ParticleTable, how: str) -> dict[str, Any]:
        """Store the particles ``chosen`` ``(N)`` under a name of ours; ``name`` is only written into the record.

        Raises:
            UsageError: the name is empty, too long or taken, or nothing was chosen.
            EnvironmentFault: the folder is not inside the run, or cannot be written.
        """
        name = " ".join(name.split())
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            raise UsageError("view.selection-name", f"a selection needs a name of 1 to {_LONGEST_NAME} characters")
        if not chosen.any():
            raise UsageError("view.selection-empty", "no particle is selected")
        if any(entry["name"] == name for entry in self.listed()):
            raise UsageError(
                "view.selection-taken", f"there is a selection called {name!r}",
                fix="choose another name; selections are never overwritten",
            )  # fmt: skip
        rows, count = particles.rows_of(chosen), int(chosen.sum())
        about = {
            "name": name, "count": count, "how": how, "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "rows": rows,
        }  # fmt: skip
        star, record = self._reserve()
        # The STAR file replaces the empty one that was reserved; the record comes last and makes it a selection.
        try:
            self._write(rows, star, name)
        except DynaflexError:
            star.unlink()
            record.unlink()
            raise
        with record.open("wb") as stream:
            stream.write(json_bytes(about))
        return {"id": star.stem, "name": name, "count": count, "file": f"{FOLDER}/{star.name}"}

    def _write(self, rows: IntArray, star: Path, name: str) -> None:
        """The subset in these rows of the table, and as cryoSPARC keeps it, where the run was made from its table."""
        run = Run(self.run)
        write_subset(run, rows, star)
        if run.files.has(INPUT_CS):
            write_subset(run, rows, star.with_suffix(".cs"), f"selected in the explorer: {name}")

    def _reserve(self) -> tuple[Path, Path]:
        """Two files that did not exist, now empty and ours."""
        try:
            self.folder.mkdir(exist_ok=True)
            if self.folder.is_symlink() or self.folder.resolve(strict=True).parent != self.run.resolve(strict=True):
                raise EnvironmentFault(
                    "view.selections-elsewhere", "the folder of selections is a link to elsewhere", file=self.folder
                )
            for number in range(1, _MOST + 1):
                star, record = (self.folder / f"selection_{number:03d}.{ending}" for ending in ("star", "json"))
                if _create(record) and _create(star):
                    return star, record
        except OSError as error:
            raise EnvironmentFault(
                "view.selections-unwritable", f"the selection cannot be stored: {error.strerror}", file=self.folder,
                fix="make the run directory writable",
            ) from error  # fmt: skip
        raise UsageError("view.selections-full", f"there are {_MOST} selections", fix=f"remove some from {self.folder}")


def _create(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o644))
    except FileExistsError:
        return False
    return True
