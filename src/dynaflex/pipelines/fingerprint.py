"""What a run was made from, as it was when the run began: sizes, times, and the digests of all files but the images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dynaflex.errors import DamagedCheckpointError, DynaflexError
from dynaflex.io import durable
from dynaflex.io.star import read_star
from dynaflex.pipelines.input_paths import InputPaths
from dynaflex.run.directory import PROVENANCE, Run

if TYPE_CHECKING:
    from dynaflex.data.particles import Particles
    from dynaflex.pipelines.inputs import Inputs


def fingerprint(paths: InputPaths, particles: Particles) -> dict[str, Any]:
    """Size, time of the last change and SHA-256 of every input file, and the columns of the particle table.

    Of the image files only their number, size and time: reading them all takes too long.
    """
    found: dict[str, Any] = {name: _of_file(path) for name, path in _files(paths)}
    found["particles"]["columns"] = [str(name) for name in particles.source.blocks[particles.particles_block]]
    found["images"] = _of_images(particles.image_paths)
    return found


def _of_images(paths: tuple[Path, ...]) -> dict[str, int]:
    stats = [path.stat() for path in paths]
    return {
        "files": len(stats),
        "size": sum(stat.st_size for stat in stats),
        "changed": max(stat.st_mtime_ns for stat in stats),
    }


def changes(run: Run) -> list[str]:
    """What of a run's inputs is not as it was, one sentence each, but for the images."""
    provenance = run.read_json(PROVENANCE)
    before = provenance.get("fingerprint", {})
    sentences = []
    for name, path in _files(InputPaths.from_dict(provenance["inputs"])):
        if name not in before:
            continue
        if not path.is_file():
            sentences.append(f"{path} is not there any more")
        elif _of_file(path, before[name])["sha256"] != before[name]["sha256"]:
            how = _changed_rows(run, path, before[name]["columns"]) if name == "particles" else ""
            if how is not None:
                sentences.append(f"{path} has changed{how}")
    return sentences


def require_unchanged(run: Run, inputs: Inputs) -> None:
    """Refuse to go on with other inputs than the run was started with.

    Raises:
        DamagedCheckpointError: they differ.
    """
    found = changes(run)
    before = run.read_json(PROVENANCE).get("fingerprint", {}).get("images", {})
    now = _of_images(inputs.particles.image_paths)
    if before and (before["files"], before["size"]) != (now["files"], now["size"]):
        found.append(f"{now['files']} image files of {now['size']} bytes, not {before['files']} of {before['size']}")
    elif before and before["changed"] != now["changed"]:
        run.warn("image files were written again after the run was started; they have the same sizes")
    if found:
        raise DamagedCheckpointError(
            "run.other-inputs",
            "this run was started with other inputs, perhaps with other particles",
            file=run.path,
            expected="the files that the run was started with",
            found="; ".join(found),
            fix="put them back, or start another run from the new ones",
        )


def _files(paths: InputPaths) -> Iterator[tuple[str, Path]]:
    """Every input but the folder of images, by name."""
    for name, value in paths.as_dict().items():
        for number, path in enumerate(value if isinstance(value, list) else [value]):
            if path is not None and name != "datadir":
                yield (f"{name}{number + 1}" if isinstance(value, list) else name), Path(path)


def _of_file(path: Path, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """A file with the size and time that it had ``before`` is not read again."""
    stat = path.stat()
    known = before is not None and (before["size"], before["changed"]) == (stat.st_size, stat.st_mtime_ns)
    digest = before["sha256"] if before is not None and known else durable.sha256(path)
    return {"size": stat.st_size, "changed": stat.st_mtime_ns, "sha256": digest}


def _changed_rows(run: Run, path: Path, columns: list[str]) -> str | None:
    """How the table differs from the run's own copy, in words; None if only the way it is written does."""
    try:
        now, before = _particles(path), _particles(run.path / "particles.star")
    except DynaflexError as error:
        return f" and cannot be compared: {error.problem}"
    other = sorted(set(now) ^ set(columns))
    if other:
        return f": {len(other)} columns were added or removed, {other[0]} among them"
    if len(now) != len(before):
        return f": it has {len(now)} rows, and had {len(before)}"
    differing = int((now[columns].to_numpy() != before[columns].to_numpy()).any(axis=1).sum())
    return f": {differing} of {len(now)} rows differ" if differing else None


def _particles(path: Path) -> pd.DataFrame:
    blocks = read_star(path).blocks
    return max(blocks.values(), key=len)
