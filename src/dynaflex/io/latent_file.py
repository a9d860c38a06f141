"""Latents to start from: our own, plain arrays, cryoSPARC's components and cryoDRGN's z."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynaflex.errors import InputError
from dynaflex.io.arrays import UNREADABLE, read_arrays
from dynaflex.io.foreign.cs import read_cs
from dynaflex.io.foreign.restricted_pickle import load_arrays
from dynaflex.io.magic import describe_file
from dynaflex.shapes import Array, Tensor

_COMPONENT = re.compile(r"components_mode_(\d+)/value")
_FIX = "give latents.npz, an array (particles, K) as .npy or .npz, cryoSPARC's .cs, or cryoDRGN's z.pkl"


def read_latents(path: Path | str, rows: int) -> Tensor:
    """The latents ``(p k)``, float32, of a particle table with ``rows`` rows, in the order of the table.

    From the file's ending: ``.npz`` with ``index`` and ``mean`` as a run writes it, or with one array; ``.npy``;
    cryoSPARC's ``.cs`` with ``components_mode_0/value`` and so on; cryoDRGN's ``z.N.pkl``, from which nothing is run.
    Rows are taken in the order of the file: a ``.cs`` must be that of the particles in the table.

    Raises:
        InputError: there is no such file, it is none of these, it has other rows or no columns, or a value is not
            finite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("latents.not-found", "there is no such file", file=path, fix=_FIX)
    if path.suffix not in _READERS:
        raise InputError(
            "latents.unknown-format", "files of this kind hold no latents",
            file=path, expected=", ".join(_READERS), found=path.suffix or "no ending", fix=_FIX,
        )  # fmt: skip
    latents = _READERS[path.suffix](path, rows)
    if latents.dtype.kind not in "fiu" or latents.ndim != 2 or latents.shape[1] < 1:
        raise InputError(
            "latents.wrong-shape", "these are no latents",
            file=path, expected=f"numbers of shape ({rows}, K)", found=f"{latents.dtype} of shape {latents.shape}",
            fix=_FIX,
        )  # fmt: skip
    if len(latents) != rows:
        raise InputError(
            "latents.wrong-count", "these are the latents of other particles",
            file=path, expected=f"{rows} rows, as in the particle table", found=f"{len(latents)} rows",
            fix="give the latents of exactly the particles in the table, in the same order",
        )  # fmt: skip
    bad = np.flatnonzero(~np.isfinite(latents).all(axis=1))
    if bad.size:
        raise InputError(
            "latents.not-finite", "a latent is not a finite number",
            file=path, row=int(bad[0]), expected="finite numbers", found=latents[bad[0]].tolist(),
            fix="leave these particles out of the table and of the latents",
        )  # fmt: skip
    return torch.from_numpy(latents.astype(np.float32))


def standardised(latents: Tensor) -> Tensor:
    """Latents ``(p k)`` centred and scaled to unit variance, column by column; a column without variance is zero."""
    centred = latents - latents.mean(dim=0)
    scale = centred.square().mean(dim=0).sqrt()
    return torch.where(scale > 1e-12, centred / scale.clamp(min=1e-12), 0.0)


def _read_npz(path: Path, rows: int) -> Array:
    arrays = _numpy(path)
    if {"index", "mean"} <= set(arrays):
        return _in_table_order(path, arrays["index"], arrays["mean"], rows)
    if len(arrays) != 1:
        raise InputError(
            "latents.ambiguous", "which of these arrays holds the latents?",
            file=path, expected="index and mean, or one array", found=", ".join(arrays) or "no array", fix=_FIX,
        )  # fmt: skip
    return next(iter(arrays.values()))


def _in_table_order(path: Path, index: Array, mean: Array, rows: int) -> Array:
    """Latents ``(p k)`` whose ``index`` ``(p)`` counts rows of the table; every row must be there once."""
    whole = index.dtype.kind in "iu" and mean.ndim == 2 and np.array_equal(np.sort(index), np.arange(len(mean)))
    if not whole or len(mean) != rows:
        raise InputError(
            "latents.wrong-count", "these are not the latents of every particle in the table",
            file=path, field="index", expected=f"each row from 0 to {rows - 1} once", found=f"{len(index)} values",
            fix="give the latents of a run on the same particle table",
        )  # fmt: skip
    ordered = np.empty_like(mean)
    ordered[index] = mean
    return ordered


def _read_npy(path: Path, _rows: int) -> Array:
    return _numpy(path)[""]


def _read_cs(path: Path, _rows: int) -> Array:
    """The columns ``components_mode_k/value`` of cryoSPARC's table, in the order of k."""
    table = read_cs(path)
    names = table.dtype.names or ()
    columns = sorted((int(match[1]), name) for name in names if (match := _COMPONENT.fullmatch(name)))
    if not columns:
        raise InputError(
            "latents.no-components", "this table has no latents",
            file=path, expected="components_mode_0/value", found=", ".join(names[:6]) or "no columns",
            fix="give the particles that 3D Variability or 3D Flex wrote",
        )  # fmt: skip
    return np.stack([table[name] for _, name in columns], axis=-1)


def _read_pickle(path: Path, _rows: int) -> Array:
    found = load_arrays(path)
    if not isinstance(found, np.ndarray):
        raise InputError(
            "latents.wrong-shape", "these are no latents",
            file=path, expected="an array", found=type(found).__name__, fix=_FIX,
        )  # fmt: skip
    return found


def _numpy(path: Path) -> dict[str, Any]:
    """All arrays of a numpy file; that of a single one has no name."""
    try:
        return read_arrays(path)
    except UNREADABLE as error:
        # numpy's own words would advise to load pickles.
        raise InputError(
            "latents.not-readable", "this is no whole numpy file of numbers",
            file=path, expected="an array", found=describe_file(path), fix=_FIX,
        ) from error  # fmt: skip


_READERS: dict[str, Callable[[Path, int], Array]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".cs": _read_cs,
    ".pkl": _read_pickle,
}
