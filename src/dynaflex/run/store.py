"""Checkpoints on disk: they appear whole or not at all, and are not used unless every byte is as it was written."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dynaflex.errors import DamagedCheckpointError
from dynaflex.io import durable
from dynaflex.shapes import Tensor

FORMAT = 3
"""Raised whenever a checkpoint comes to hold something else."""

KEEP = 2
"""How many checkpoints of whole epochs are kept of a series, besides the newest within the epoch that follows."""

_TENSORS, _STATE, _MANIFEST = "state.safetensors", "state.json", "manifest.json"
_NAME = re.compile(r"(?P<series>[a-z]+[0-9]*)_(?P<epoch>[0-9]{5})(?:\.(?P<step>[0-9]{6}))?")


class Place(NamedTuple):
    """How far a training had come: whole epochs, and updates of the epoch that follows."""

    epoch: int
    step: int = 0


class CheckpointStore:
    """All checkpoints of a run. ``owner`` identifies its particles and settings, and stands in every manifest."""

    def __init__(self, folder: Path, owner: str | None = None) -> None:
        self.folder = folder
        self.owner = owner

    def save(self, series: str, place: Place, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Write a checkpoint, then forget the ones that nobody would go back to.

        Raises:
            ResourceError, EnvironmentFault: it cannot be written; what was there before still is.
        """
        from safetensors.torch import save

        name = _name(series, place)
        content = {
            _TENSORS: save({key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}),
            _STATE: durable.json_bytes(state),
        }
        content[_MANIFEST] = _manifest(name, self.owner, content)
        durable.write_folder(self.folder / name, content)
        self._forget(series)

    def newest(self, series: str) -> Iterator[Path]:
        """The checkpoints of a series, the newest first."""
        return reversed(self.series(series))

    def series(self, name: str) -> list[Path]:
        """The checkpoints of a series, oldest first."""
        return [path for path, _ in self._places(name)]

    def epochs(self, name: str) -> int:
        """How many whole epochs stand behind the newest checkpoint of a series; 0 where there is none."""
        return max((place.epoch for _, place in self._places(name)), default=0)

    def names(self) -> list[str]:
        """The series that there are."""
        found = (_NAME.fullmatch(path.name) for path in self.folder.glob("*") if path.is_dir())
        return sorted({match["series"] for match in found if match})

    def read(self, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors and the state of a checkpoint. They are read once, and checked before anything is made of them.

        Raises:
            DamagedCheckpointError: a byte is missing or differs, or the checkpoint belongs elsewhere.
        """
        from safetensors.torch import load

        content = self._verified(path)
        return load(content[_TENSORS]), json.loads(content[_STATE])

    def fault(self, path: Path) -> str | None:
        """What is wrong with a checkpoint, in words; None if nothing is."""
        try:
            self._verified(path)
        except DamagedCheckpointError as error:
            return error.problem
        return None

    def _verified(self, path: Path) -> dict[str, bytes]:
        try:
            written = (path / _MANIFEST).read_bytes()
            content = {name: (path / name).read_bytes() for name in (_TENSORS, _STATE)}
        except OSError as error:
            raise _damaged(path, f"{Path(str(error.filename)).name} cannot be read: {error.strerror}") from error
        try:
            listed = json.loads(written)
            number, name, owner = listed["format"], listed["name"], listed["owner"]
            sums = {file: listed["files"][file]["sha256"] for file in content}
        except (ValueError, LookupError, TypeError) as error:
            raise _damaged(path, f"{_MANIFEST} is not that of a checkpoint of this version") from error
        if number != FORMAT:
            raise _damaged(path, f"it has format {number!r}, and this version of dynaflex reads format {FORMAT}")
        for file, data in content.items():
            if hashlib.sha256(data).hexdigest() != sums[file]:
                raise _damaged(path, f"the SHA-256 of {file} is not the one in {_MANIFEST}")
        # The manifest vouches for itself: it must be, byte for byte, what would be written for these contents.
        if written != _manifest(name, owner, content):
            raise _damaged(path, f"{_MANIFEST} was changed after it was written")
        if name != path.name:
            raise _damaged(path, f"it was written as {name}")
        if self.owner is not None and owner != self.owner:
            raise _damaged(path, "it belongs to another run, of other particles or settings")
        return content

    def _places(self, series: str) -> list[tuple[Path, Place]]:
        found = []
        for path in self.folder.glob(f"{series}_*"):
            match = _NAME.fullmatch(path.name)
            if match and match["series"] == series and path.is_dir():
                found.append((path, Place(int(match["epoch"]), int(match["step"] or 0))))
        return sorted(found, key=lambda item: item[1])

    def _forget(self, series: str) -> None:
        there = self._places(series)
        whole = [path for path, place in there if place.step == 0][-KEEP:]
        within = [path for path, place in there[-1:] if place.step > 0]
        for path, _ in there:
            if path not in (*whole, *within):
                shutil.rmtree(path, ignore_errors=True)


def _name(series: str, place: Place) -> str:
    return f"{series}_{place.epoch:05d}" + (f".{place.step:06d}" if place.step else "")


def _manifest(name: str, owner: str | None, content: dict[str, bytes]) -> bytes:
    """The manifest of the files in ``content``; it ends with the digest of all that stands before."""
    files = {
        file: {"size": len(content[file]), "sha256": hashlib.sha256(content[file]).hexdigest()}
        for file in (_TENSORS, _STATE)
    }
    listed = {"format": FORMAT, "name": name, "owner": owner, "files": files}
    digest = hashlib.sha256(durable.json_bytes(listed)).hexdigest()
    return durable.json_bytes({**listed, "sha256": digest})


def _damaged(path: Path, reason: str) -> DamagedCheckpointError:
    return DamagedCheckpointError("checkpoint.damaged", reason, file=path)
