"""Files of other kinds than maps and tables, damaged: an error by name or what is there; never anything else."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle  # noqa: TID251  (to write what cryoDRGN writes)
import random
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dynaflex.errors import DynaflexError
from dynaflex.io.atoms import read_atoms
from dynaflex.io.latent_file import read_latents
from dynaflex.io.mesh_file import read_mesh
from dynaflex.io.mrc import read_map, write_map
from dynaflex.simulation.truth import read_truth

LATENTS = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
ATOMS = (
    b"ATOM      1  N   ALA A   1      11.104   6.134  -6.504  1.00  0.00           N\n"
    b"ATOM      2  CA  ALA A   1      11.639   6.071  -5.147  1.00  0.00           C\nEND\n"
)
FROM_ROWS = partial(read_latents, rows=12)


def saved(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays) if arrays else np.save(stream, LATENTS)
    return stream.getvalue()


def packed_map(pack: Callable[[bytes], bytes]) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        write_map(folder / "plain.mrc", np.arange(512, dtype=np.float32).reshape(8, 8, 8), 2.0)
        return pack((folder / "plain.mrc").read_bytes())

    return make


FILES: dict[str, tuple[Callable[[Path], bytes], Callable[[Path], object]]] = {
    "map.mrc.gz": (packed_map(gzip.compress), read_map),
    "map.mrc.bz2": (packed_map(bz2.compress), read_map),
    "z.npy": (lambda _: saved(), FROM_ROWS),
    "latents.npz": (lambda _: saved(index=np.arange(12), mean=LATENTS), FROM_ROWS),
    "z.pkl": (lambda _: pickle.dumps(LATENTS), FROM_ROWS),
    "mesh.npz": (lambda _: saved(version=np.array(1), vertices=LATENTS, cells=np.zeros((3, 4), int)), read_mesh),
    "truth.npz": (lambda _: saved(points=LATENTS, domain=np.zeros(12, int)), read_truth),
    "model.pdb": (lambda _: ATOMS, read_atoms),
    "model.pdb.gz": (lambda _: gzip.compress(ATOMS), read_atoms),
}


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_refused_by_name_or_read(name: str, tmp_path: Path) -> None:
    """Cut off, with bytes changed or zeroed, by 120 seeds."""
    make, read = FILES[name]
    original, path = make(tmp_path), tmp_path / name
    for seed in range(120):
        rng, content = random.Random(seed), bytearray(original)
        kind = rng.choice(("cut", "bytes", "zeros"))
        if kind == "cut":
            del content[rng.randrange(len(content)) :]
        elif kind == "bytes":
            for _ in range(rng.randint(1, 6)):
                content[rng.randrange(len(content))] = rng.randrange(256)
        else:
            start = rng.randrange(len(content))
            content[start : start + 50] = bytes(len(content[start : start + 50]))
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read(path)
            except DynaflexError:
                continue
            except Exception as error:
                raise AssertionError(f"seed {seed}") from error
