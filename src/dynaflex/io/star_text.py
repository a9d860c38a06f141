"""The text of a STAR file, whatever system it was written on; what else it is where it is none."""

from __future__ import annotations

import difflib
from pathlib import Path

from dynaflex.errors import InputError
from dynaflex.io.magic import HEAD_SIZE, describe


def read_text(path: Path, notices: list[str]) -> str:
    """The text of a file with lines ended by line feeds; ``notices`` gains what is unusual about it.

    Raises:
        InputError: the file is missing, cannot be read, or is not text.
    """
    if not path.is_file():
        raise _missing(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(
            "star.unreadable",
            error.strerror or "cannot read this file",
            file=path,
            fix="check the permissions of the file",
        ) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_text(path, raw) from error
    if "\0" in text:
        raise _not_text(path, raw)
    if "\r" in text:
        notices.append(f"{path} has the line ends of Windows (CRLF), which RELION cannot read; dos2unix removes them")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text and not text.endswith("\n"):
        notices.append(f"{path} does not end with a line break: was it cut while it was copied?")
    return text


def _not_text(path: Path, raw: bytes) -> InputError:
    return InputError(
        "star.not-text",
        "this is not a text file in UTF-8",
        file=path,
        expected="a STAR file",
        found=describe(raw[:HEAD_SIZE]),
        fix="give the particle STAR file of a 3D refinement (run_data.star)",
    )


def _missing(path: Path) -> InputError:
    """There is no such file: what may have been meant instead."""
    if path.is_dir():
        names = sorted(path.glob("*.star"))
        data = [name for name in names if name.name.endswith("data.star")]
        meant = (data or names)[-1:]
    else:
        near = difflib.get_close_matches(path.name, [other.name for other in path.parent.glob("*.star")], 1)
        meant = [path.parent / name for name in near]
    return InputError(
        "star.missing",
        "this is a folder, not a STAR file" if path.is_dir() else "no such file",
        file=path,
        fix=f"did you mean {meant[0]}?" if meant else "give the path of a particle STAR file",
    )
