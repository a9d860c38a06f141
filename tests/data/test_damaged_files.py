"""Damaged maps, stacks and tables of cryoSPARC: an error by name or what is there; never anything else."""

from __future__ import annotations

import random
import struct
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cryosparc_files import records, with_column, without, write_cs
from dynaflex.checking.preflight import check_inputs
from dynaflex.data.particles import read_particles
from dynaflex.data.placed import Frame, read_mask, read_segments
from dynaflex.errors import DynaflexError
from dynaflex.grid import Grid
from dynaflex.io.mrc import ImageStack, Place, read_map, write_map, write_stack

Blocks = dict[str, dict[str, list[str]]]
BOX = 8
WORDS = (0, 1, -1, 2, 7, 8, 9, 255, 2**15, 2**24, 2**30, 2**31 - 1, -(2**31))
NUMBERS = (0.0, -1.0, 1e-30, 1e30, 3e38, float("nan"), float("inf"), float("-inf"))


def mutated(content: bytes, rng: random.Random, header: int) -> bytes:
    """One to four bytes, integers or floats of a header or of what follows replaced, or the end cut off."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        kind = rng.choice(("byte", "word", "number", "value", "cut", "longer"))
        place = rng.randrange(0, min(header, len(changed)) - 4) // 4 * 4
        if kind == "byte":
            changed[rng.randrange(min(header, len(changed)))] = rng.randrange(256)
        elif kind == "word":
            changed[place : place + 4] = struct.pack("<i", rng.choice(WORDS))
        elif kind == "number":
            changed[place : place + 4] = struct.pack("<f", rng.choice(NUMBERS))
        elif kind == "value" and len(changed) > header + 4:
            at = rng.randrange(header, len(changed) - 4)
            changed[at : at + 4] = struct.pack("<f", rng.choice(NUMBERS))
        elif kind == "cut":
            return bytes(changed[: rng.randrange(len(changed))]) or b"\0"
        elif kind == "longer":
            changed += bytes(rng.randrange(100))
    return bytes(changed)


def survives(read: Callable[[], object], what: str) -> None:
    """Read it without a warning of a library, or be refused by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            read()
        except DynaflexError:
            return
        except Exception as error:
            raise AssertionError(what) from error


@pytest.mark.parametrize("axes", [(1, 2, 3), (3, 1, 2)])
def test_maps(tmp_path: Path, axes: tuple[int, int, int]) -> None:
    path, frame = tmp_path / "map.mrc", Frame(Grid(BOX, 2.0), Place((4.0, 2.0, 0.0)))
    z, y, x = np.indices((BOX,) * 3) - BOX // 2
    write_map(path, (np.hypot(np.hypot(x, y), z) < 3).astype(np.float32), 2.0, Place((4.0, 0.0, 0.0), (2, 0, 0)))
    original = bytearray(path.read_bytes())
    original[64:76] = struct.pack("<3i", *axes)
    for seed in range(400):
        path.write_bytes(mutated(bytes(original), random.Random(seed), 256))
        for read in (
            lambda: read_map(path),
            lambda: read_mask(path, frame, []),
            lambda: read_segments(path, frame, []),
        ):
            survives(read, f"seed {seed}")


def test_stacks(tmp_path: Path) -> None:
    path = tmp_path / "s.mrcs"
    write_stack(path, np.random.default_rng(0).normal(size=(5, BOX, BOX)).astype(np.float32), 2.0)
    original = path.read_bytes()

    def read() -> None:
        stack = ImageStack.open(path)
        if stack.n_images * stack.box**2 < 10**7:
            stack.read(np.arange(stack.n_images))

    for seed in range(400):
        path.write_bytes(mutated(original, random.Random(seed), 256))
        survives(read, f"seed {seed}")


@pytest.fixture
def job(blocks: Blocks, save: Callable[[Blocks], Path]) -> tuple[Path, np.ndarray]:
    star = save(blocks)
    (star.parents[2] / "J12").mkdir()
    return star.parents[2] / "J12" / "particles.cs", records(star, 2.0)


def test_tables_of_cryosparc_by_their_bytes(job: tuple[Path, np.ndarray]) -> None:
    path, rows = job
    original = write_cs(path, rows).read_bytes()
    header = 10 + int.from_bytes(original[8:10], "little")
    for seed in range(150):
        path.write_bytes(mutated(original, random.Random(seed), header))
        survives(lambda: read_particles(path), f"seed {seed}")


def spoiled(rows: np.ndarray, rng: random.Random) -> np.ndarray:
    """One to three columns left out, made of another type or shape, or with values that cannot be."""
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(rows.dtype.names)
        values = rows[name]
        kind = rng.choice(("left out", "shape", "type", "value", "values", "values", "rows"))
        if kind == "left out":
            rows = without(rows, name)
        elif kind == "shape":
            rows = with_column(rows, name, np.zeros((len(rows), rng.randint(1, 5)), dtype="<f4"))
        elif kind == "type":
            other = rng.choice(("<f8", "<i8", "S8", "<U4", "?", "<c8", "<M8[s]"))
            rows = with_column(rows, name, np.zeros(len(rows), dtype=other))
        elif kind == "rows":
            rows = rows[: rng.randint(0, len(rows))]
        elif values.dtype.kind in "fiu" and len(rows):
            known = NUMBERS if values.dtype.kind == "f" else tuple(abs(word) for word in WORDS)
            number = np.array(rng.choice(known)).astype(values.dtype)
            rows[name][rng.randrange(len(rows)) if kind == "value" else slice(None)] = number
        elif values.dtype.kind == "S" and len(rows):
            rows[name][rng.randrange(len(rows))] = rng.choice((b"", b"\xff\xfe", b">", b"@@", b"../x", b"a\x00b"))
    return rows


def test_tables_of_cryosparc_by_their_columns(job: tuple[Path, np.ndarray]) -> None:
    path, rows = job
    for seed in range(250):
        write_cs(path, spoiled(rows.copy(), random.Random(seed)))

        survives(partial(read_particles, path, class_number=seed % 3 or None), f"seed {seed}")
        survives(partial(check_inputs, path), f"seed {seed}")


CELLS = (
    *("nan", "-nan", "inf", "1e400", "-1e400", "1e-400", "0", "-0", "99999999999999999999", "1e300", "<NA>", "None"),
    *("0x1p3", "1,5", "١", "1_0", '""', "[]", "[1,", "[nan]", "@", "1@", "@a", "é", "true", "0@Extract/job001/a.mrcs"),
)


def test_tables_of_relion_by_their_columns(blocks: Blocks, save: Callable[[Blocks], Path]) -> None:
    """Whole columns or single cells of any kind, columns that are left out or come twice, optics without rows."""
    extra = {"rlnOddZernike": "[0,0,0]", "rlnBeamTiltX": "0", "rlnMagMat00": "1", "rlnImageDimensionality": "2",
             "rlnCtfDataArePhaseFlipped": "0", "rlnClassNumber": "1", "rlnMicrographPixelSize": "1",
             "rlnCoordinateX": "1", "rlnCoordinateY": "2", "rlnCtfBfactor": "0", "rlnPhaseShift": "0"}  # fmt: skip
    for name, value in extra.items():
        blocks["particles"].setdefault(name, [value] * 12)
    for seed in range(500):
        rng = random.Random(seed)
        tables = {name: {label: list(column) for label, column in table.items()} for name, table in blocks.items()}
        for _ in range(rng.randint(1, 3)):
            table = tables[rng.choice(("optics", "particles", "particles"))]
            label = rng.choice(list(table))
            kind = rng.choice(("cell", "cell", "column", "left out", "other name", "no rows"))
            if kind == "cell" and table[label]:
                table[label][rng.randrange(len(table[label]))] = rng.choice(CELLS)
            elif kind == "column":
                table[label] = [rng.choice(CELLS)] * len(table[label])
            elif kind == "left out" and len(table) > 1:
                del table[label]
            elif kind == "other name":
                table[f"rln{rng.choice(('X', 'TomoName', 'OriginX', 'CtfImage'))}"] = table.pop(label)
            elif kind == "no rows":
                for column in table.values():
                    column.clear()
        path = save(tables)
        survives(partial(read_particles, path, class_number=rng.choice((None, None, 1))), f"seed {seed}")
        survives(partial(check_inputs, path), f"seed {seed}")
