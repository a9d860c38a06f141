"""Writing files so that a reader sees the old contents or the new, never a part.

Every file the program writes goes through :func:`write_stream`: a temporary file in the same folder, fsync, rename,
fsync of the folder. Equal contents give equal bytes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from dynaflex.errors import DynaflexError, EnvironmentFault, ResourceError, UsageError

# The earliest date a zip archive can hold; a fixed one keeps equal arrays byte-identical from run to run.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
_WRITING, _OLD = ".writing", ".old"
_spared: ContextVar[frozenset[tuple[int, int]]] = ContextVar("spared", default=frozenset())


@contextmanager
def sparing(files: Iterable[Path]) -> Iterator[None]:
    """Inside, nothing is written over these files, whatever name leads to them."""
    known = (identity for identity in map(_identity, files) if identity is not None)
    before = _spared.set(_spared.get().union(known))
    try:
        yield
    finally:
        _spared.reset(before)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file this is, by whatever name; None where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino)


def write_stream(path: Path | str, write: Callable[[BinaryIO], None]) -> None:
    """Replace the file at ``path`` by what ``write`` puts into the stream it is given.

    Raises:
        UsageError: this is one of the files that are to be spared.
        EnvironmentFault: the folder is missing or not writable.
        ResourceError: the disk is full or the quota is used up.
    """
    path = Path(path)
    if _identity(path) in _spared.get():
        raise UsageError(
            "output.is-input", "this would be written over a file that the command works on",
            file=path, fix="choose another -o",
        )  # fmt: skip
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        _discard(temporary)


def write_bytes(path: Path | str, content: bytes) -> None:
    """Replace the file at ``path`` by ``content``; errors as :func:`write_stream`."""

    def write(stream: BinaryIO) -> None:
        stream.write(content)

    write_stream(path, write)


def write_text(path: Path | str, text: str) -> None:
    """Replace the file at ``path`` by ``text`` in UTF-8; errors as :func:`write_stream`."""
    write_bytes(path, text.encode("utf-8"))


def copy(source: Path, path: Path | str) -> None:
    """Replace the file at ``path`` by what ``source`` holds; errors as :func:`write_stream`."""
    write_bytes(path, source.read_bytes())


def write_json(path: Path | str, content: object) -> None:
    """Replace the file at ``path`` by ``content`` as indented JSON; errors as :func:`write_stream`.

    NumPy scalars, arrays and paths are accepted. NaN and infinity are not JSON and raise ``ValueError``.
    """
    write_bytes(path, json_bytes(content))


def json_bytes(content: object) -> bytes:
    """What :func:`write_json` writes. A path that is not UTF-8 stands there with escapes and is read back as it was."""
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False, default=_plain)
    return (text + "\n").encode("utf-8", "backslashreplace")


def write_folder(path: Path, files: dict[str, bytes]) -> None:
    """Replace the folder at ``path`` by one with these files: it appears whole or not at all.

    Errors as :func:`write_stream`. A folder cannot take another's place in one step: if the process dies between the
    two that it takes, the old one is put back by :func:`remove_leftovers`.
    """
    temporary, old = path.with_name(path.name + _WRITING), path.with_name(path.name + _OLD)
    try:
        _put_back(old, path)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        for name, content in files.items():
            write_bytes(temporary / name, content)
        if path.exists():
            os.rename(path, old)
        os.rename(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _put_back(old, path)


@contextmanager
def errors_of_the_disk(path: Path) -> Iterator[None]:
    """Inside, an error of the system is one of writing at ``path``; errors as :func:`write_stream`."""
    try:
        yield
    except OSError as error:
        raise _unwritable(path, error) from error


def taken(descriptor: int) -> bool | None:
    """Take the kernel's lock of an open file, unless another has it; None where the file system keeps no locks.

    It is kept as long as the descriptor is open in any process.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def make_folder(path: Path) -> None:
    """Make a folder, and those it lies in, where they are missing; errors as :func:`write_stream`."""
    with errors_of_the_disk(path):
        path.mkdir(parents=True, exist_ok=True)


def append_line(path: Path, line: str) -> bool:
    """Add a line to a file that may lose lines but must not break; False if there was no room for it.

    What an earlier write left unfinished is ended first, so that it spoils no other line.
    """
    data = (line + "\n").encode("utf-8", "backslashreplace")
    try:
        with open(path, "ab+", buffering=0) as stream:
            end = stream.seek(0, os.SEEK_END)
            if end:
                stream.seek(end - 1)
                data = data if stream.read(1) == b"\n" else b"\n" + data
            if stream.write(data) != len(data):
                stream.truncate(end)
                return False
    except OSError:
        return False
    return True


def remove_leftovers(folder: Path) -> list[str]:
    """Remove what processes that are gone left unfinished below a folder that nobody else writes to; their names."""
    left = [path for path in folder.rglob("*") if _is_leftover(path)]
    for path in left:
        if path.name.endswith(_OLD):
            _put_back(path, path.with_name(path.name.removesuffix(_OLD)))
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return [path.name for path in left]


def _is_leftover(path: Path) -> bool:
    if path.is_dir():
        return path.name.endswith((_WRITING, _OLD))
    return path.name.startswith(".") and path.name.endswith(".tmp")


def _put_back(old: Path, path: Path) -> None:
    """Undo the first half of a replacement, or clear up after the second; what fails now is done when next asked."""
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
    elif old.exists():
        with suppress(OSError):
            os.rename(old, path)


def write_npz(path: Path | str, **arrays: ArrayLike) -> None:
    """Replace the file at ``path`` by a NumPy archive; equal arrays give equal bytes. Errors as :func:`write_stream`.

    Arrays of Python objects would need a pickle and raise ``ValueError``.
    """

    def write(stream: BinaryIO) -> None:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(arrays):
                entry = zipfile.ZipInfo(f"{name}.npy", _ZIP_EPOCH)
                entry.external_attr = 0o644 << 16
                with archive.open(entry, "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(arrays[name]), allow_pickle=False)

    write_stream(path, write)


def sha256(path: Path | str) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _plain(value: object) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder; the file's own contents are on disk all the same.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _discard(temporary: Path) -> None:
    """Remove what a failed write left; after a success there is nothing to remove."""
    try:
        temporary.unlink(missing_ok=True)
    except OSError as error:
        # The folder itself is gone or is not a folder, so there is no temporary file either.
        if error.errno not in (errno.ENOTDIR, errno.EACCES, errno.EROFS, errno.ENAMETOOLONG):
            raise


def _unwritable(path: Path, error: OSError) -> DynaflexError:
    reason = error.strerror or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError("output.disk-full", reason, file=path, fix="free space on this disk or write elsewhere")
    if not path.parent.is_dir():
        fix = f"create the folder {path.parent}, or name another output"
    else:
        fix = f"make {path.parent} writable, or name another output"
    return EnvironmentFault("output.unwritable", f"cannot write this file: {reason}", file=path, fix=fix)
