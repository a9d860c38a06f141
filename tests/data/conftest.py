"""A small data set to spoil: every test changes one thing and says what must follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dynaflex.io.mrc import write_stack

N_PARTICLES = 12
BOX = 16
PIXEL_SIZE = 2.0

Table = dict[str, list[str]]
Blocks = dict[str, Table]


def _numbers(values: object) -> list[str]:
    return [f"{value:.6f}" for value in np.asarray(values, dtype=float)]


@pytest.fixture
def blocks() -> Blocks:
    """The tables of a RELION 3.1 file: 12 particles of 4 micrographs, in 2 stacks, in 2 optics groups."""
    rng = np.random.default_rng(0)
    i = np.arange(N_PARTICLES)
    return {
        "optics": {
            "rlnOpticsGroup": ["1", "2"],
            "rlnOpticsGroupName": ["one", "two"],
            "rlnVoltage": ["300.0", "200.0"],
            "rlnSphericalAberration": ["2.7", "1.4"],
            "rlnAmplitudeContrast": ["0.1", "0.07"],
            "rlnImagePixelSize": ["2.0", "2.0"],
            "rlnImageSize": [str(BOX), str(BOX)],
            "rlnImageDimensionality": ["2", "2"],
        },
        "particles": {
            "rlnImageName": [f"{n % 6 + 1:06d}@Extract/job001/{'ab'[n // 6]}.mrcs" for n in i],
            "rlnMicrographName": [f"mic{n // 3}.mrc" for n in i],
            "rlnOpticsGroup": [str(n % 2 + 1) for n in i],
            "rlnAngleRot": _numbers(rng.uniform(-180, 180, N_PARTICLES)),
            "rlnAngleTilt": _numbers(rng.uniform(0, 180, N_PARTICLES)),
            "rlnAnglePsi": _numbers(rng.uniform(-180, 180, N_PARTICLES)),
            "rlnOriginXAngst": _numbers(rng.uniform(-3, 3, N_PARTICLES)),
            "rlnOriginYAngst": _numbers(rng.uniform(-3, 3, N_PARTICLES)),
            "rlnDefocusU": _numbers(rng.uniform(10000, 20000, N_PARTICLES)),
            "rlnDefocusV": _numbers(rng.uniform(10000, 20000, N_PARTICLES)),
            "rlnDefocusAngle": _numbers(rng.uniform(0, 180, N_PARTICLES)),
            "rlnRandomSubset": [str(n // 6 + 1) for n in i],
        },
    }


@pytest.fixture
def images() -> np.ndarray:
    """The images, in the order of the particle table."""
    return np.random.default_rng(1).normal(size=(N_PARTICLES, BOX, BOX)).astype(np.float32)


@pytest.fixture
def save(tmp_path: Path, images: np.ndarray) -> Callable[[Blocks], Path]:
    """Write the stacks (once) and the given tables as a project, and return the path of the STAR file."""
    folder = tmp_path / "project" / "Extract" / "job001"
    folder.mkdir(parents=True)
    write_stack(folder / "a.mrcs", images[:6], PIXEL_SIZE)
    write_stack(folder / "b.mrcs", images[6:], PIXEL_SIZE)

    def save(blocks: Blocks) -> Path:
        lines: list[str] = []
        for name, table in blocks.items():
            lines += ["", f"data_{name}", "", "loop_", *(f"_{label}" for label in table)]
            lines += [" ".join(row) for row in zip(*table.values(), strict=True)]
        path = tmp_path / "project" / "Refine3D" / "job002" / "run_data.star"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
        return path

    return save
