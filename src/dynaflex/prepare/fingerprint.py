"""What a run was made from, as it was when the run began: sizes, times and digests of all files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dynaflex.errors import DynaflexError
from dynaflex.io import durable
from dynaflex.io.paths import absolute
from dynaflex.prepare.paths import InputPaths
from dynaflex.run.directory import PROVENANCE, Run
from dynaflex.run.files import read_table
from dynaflex.version import __version__

IMAGES = "images.json"
"""The file of a run that lists its stacks of images in the order of the table, each with what it was."""
_BLOCKS, _BLOCK, _WHOLE = 8, 4096, 1 << 22
_NO_FILES = ("datadir", "strip_prefix")
_PREPARED = 1
"""Raised by whoever changes how images are made ready."""

if TYPE_CHECKING:
    from dynaflex.data.particles import Particles
    from dynaflex.io.star import StarFile
    from dynaflex.prepare.images import Imaging


def fingerprint(paths: InputPaths, particles: Particles) -> dict[str, Any]:
    """Size, time of the last change and SHA-256 of every input file but the images, and the columns of the table."""
    found: dict[str, Any] = {name: _of_file(path) for name, path in input_files(paths)}
    if particles.tilted is not None:
        found["particles"]["tilted"] = True
    found["particles"]["columns"] = [str(name) for name in particles.source.blocks[particles.particles_block]]
    return found


def of_images(paths: Sequence[Path], before: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Path, size, time of the last change and digest of every stack of images; what is as it was ``before`` is not
    read again.

    The digest is that of the whole file up to 4 MB, of larger ones that of eight blocks of 4 kB from its first to its
    last byte: to read them all takes too long.
    """
    known = {entry["path"]: entry for entry in before}
    found = []
    for path in paths:
        status, whole = path.stat(), str(absolute(path))
        entry = {"path": whole, "size": status.st_size, "changed": status.st_mtime_ns}
        same = known.get(whole)
        unread = same is not None and all(same[name] == entry[name] for name in entry)
        found.append({**entry, "digest": same["digest"] if same is not None and unread else _sampled(path)})
    return found


def of_prepared(particles: Particles, imagings: Sequence[Imaging], stacks: Sequence[dict[str, Any]]) -> str:
    """A digest of all that decides what images become: the ``stacks`` as :func:`of_images` gives them, wherever they
    lie, which images of them in which order, what was done to them, where the particles sit, and how they are made
    ready."""
    import torch

    digest = hashlib.sha256()
    files, treated, pose = particles.files, particles.treatment, particles.pose
    told = {
        "version": [__version__, _PREPARED],
        "stacks": [[stack["size"], stack["changed"], stack["digest"]] for stack in stacks],
        "grids": [str(grid) for grid in (particles.grid, *files.natives)],
        "imaging": [[str(imaging.grid), imaging.diameter, imaging.edge, imaging.sign] for imaging in imagings],
    }
    digest.update(json.dumps(told).encode())
    changed = particles.ctf[torch.from_numpy((treated.flipped | treated.multiplied).nonzero()[0])]
    everything: list[np.ndarray[Any, Any]] = [particles.rows, particles.half, pose.shift.numpy()]
    everything += [files.stack, files.index, files.sign, files.native]
    everything += [treated.magnification, treated.flipped, treated.multiplied]
    everything += [term.numpy() for term in changed.terms().values()]
    for values in everything:
        digest.update(str(values.shape).encode() + np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:32]


def _sampled(path: Path) -> str:
    digest, size = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as stream:
        if size <= _WHOLE:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        for number in range(_BLOCKS):
            stream.seek(number * (size - _BLOCK) // (_BLOCKS - 1))
            digest.update(stream.read(_BLOCK))
    return digest.hexdigest()


def changes(run: Run, paths: InputPaths) -> list[str]:
    """What of the files at ``paths`` is not what the run was started with, one sentence each, but for the images.

    What is not there is for those to miss who need it.
    """
    before = run.read_json(PROVENANCE).get("fingerprint", {})
    sentences = []
    for name, path in input_files(paths):
        if name not in before:
            sentences.append(f"{path} was given, and the run was started without")
        elif path.is_file() and _of_file(path, before[name])["sha256"] != before[name]["sha256"]:
            how = _changed_rows(run, paths, before[name]["columns"]) if name == "particles" else ""
            if how is not None:
                sentences.append(f"{path} has changed{how}, or is another file")
        elif name == "particles" and before[name].get("tilted") and path.is_file():
            # Poses and optics are in other files too.
            how = _changed_rows(run, paths, before[name]["columns"])
            if how is not None:
                sentences.append(f"what belongs to {path} has changed{how}")
    return sentences


def changed_images(run: Run, particles: Particles) -> tuple[list[str], list[dict[str, Any]]]:
    """What of the images is not what the run was started with, one sentence each; and what they are now."""
    before = run.read_json(IMAGES).get("stacks", []) if run.files.has(IMAGES) else []
    now = of_images(particles.image_paths, before)
    if before and len(before) != len(now):
        return [f"{len(now)} image files, not {len(before)}"], now
    other = [new["path"] for old, new in zip(before, now, strict=False) if old["digest"] != new["digest"]]
    return ([f"{len(other)} image files have other contents, {other[0]} among them"] if other else []), now


def made_from(run: Run) -> Iterator[Path]:
    """The files that a run was made from, its images too, where they were when it last read them."""
    yield from (path for _, path in input_files(InputPaths.from_dict(run.read_json(PROVENANCE)["inputs"])))
    yield from (Path(stack["path"]) for stack in run.read_json(IMAGES).get("stacks", []))


def own_files(path: Path) -> Iterator[Path]:
    """The files that a run at ``path`` consists of and was made from, whether or not they are there."""
    run = Run(path)
    try:
        yield from (path / name for name in run.files.names())
        yield from made_from(run)
    except (DynaflexError, LookupError, TypeError):
        # Whoever opens the run will say what is wrong with it.
        return


def input_files(paths: InputPaths) -> Iterator[tuple[str, Path]]:
    """Every input but the folder of images, by name."""
    for name, value in paths.as_dict().items():
        for number, path in enumerate(value if isinstance(value, list) else [value]):
            if path is not None and name not in _NO_FILES:
                yield (f"{name}{number + 1}" if isinstance(value, list) else name), Path(path)


def _of_file(path: Path, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """A file with the size and time that it had ``before`` is not read again."""
    stat = path.stat()
    known = before is not None and (before["size"], before["changed"]) == (stat.st_size, stat.st_mtime_ns)
    digest = before["sha256"] if before is not None and known else durable.sha256(path)
    return {"size": stat.st_size, "changed": stat.st_mtime_ns, "sha256": digest}


def _changed_rows(run: Run, paths: InputPaths, columns: list[str]) -> str | None:
    """How the table differs from the run's own copy, in words; None if only the way it is written does."""
    from dynaflex.data.foreign.tables import read_table as read_particle_table

    try:
        now = _particles(read_particle_table(paths.particles, run.config().get("class_number"), paths.datadir))
        before = _particles(read_table(run))
    except DynaflexError as error:
        return f" and cannot be compared: {error.problem}"
    other = sorted(set(now) ^ set(columns))
    if other:
        return f": {len(other)} columns were added or removed, {other[0]} among them"
    if len(now) != len(before):
        return f": it has {len(now)} rows, and had {len(before)}"
    differing = int((now[columns].to_numpy() != before[columns].to_numpy()).any(axis=1).sum())
    return f": {differing} of {len(now)} rows differ" if differing else None


def _particles(star: StarFile) -> pd.DataFrame:
    from dynaflex.data.columns import particle_block

    return star.blocks[particle_block(star)]
