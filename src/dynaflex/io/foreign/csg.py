"""cryoSPARC's groups of results (.csg), which *Import Result Group* takes: YAML that says where the columns lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dynaflex.errors import UsageError
from dynaflex.io import durable

_OURS = "# Written by dynaflex."
_LAYOUT = "v4.4.1"


@dataclass(frozen=True)
class ResultGroup:
    """A group of ``type`` particle, volume or mask: ``slots`` of so many ``items`` and the kind of each, such as
    ``alignments3D``; all of them are columns of ``metafile``, a file beside that of the group."""

    name: str
    title: str
    type: str
    description: str
    metafile: str
    items: int
    slots: Mapping[str, str]


def write_csg(path: Path, group: ResultGroup) -> None:
    """Write a group of results in the layout of cryoSPARC 4.4.

    Raises:
        UsageError: there is such a file, and it is not ours.
    """
    if path.exists() and not path.read_bytes().startswith(_OURS.encode()):
        raise UsageError(
            "output.not-ours", "this file would be replaced, and is not one that the command wrote before",
            file=path, fix="choose another -o, or move the file away",
        )  # fmt: skip
    lines = [_OURS, f"created: {datetime.now(UTC).replace(tzinfo=None).isoformat(' ', 'microseconds')}", "group:"]
    about = {"description": group.description, "name": group.name, "title": group.title, "type": group.type}
    lines += [f"  {key}: {_quoted(text)}" for key, text in about.items()]
    lines.append("results:")
    for slot, kind in sorted(group.slots.items()):
        lines += [
            f"  {slot}:",
            # The sign says: in the folder of this file.
            f"    metafile: {_quoted(f'>{group.metafile}')}",
            f"    num_items: {group.items}",
            f"    type: {group.type}.{kind}",
        ]
    durable.write_text(path, "\n".join([*lines, f"version: {_LAYOUT}", ""]))


def _quoted(text: str) -> str:
    """Text between single quotes means itself in YAML, but for a quote, which is doubled."""
    return "'" + text.replace("'", "''") + "'"
