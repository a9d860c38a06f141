"""What ``dynaflex analyze`` said of the particles, read again: of the run as it is now, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dynaflex.errors import DamagedCheckpointError, UsageError
from dynaflex.products.names import ANALYSIS, DENSITY, K_MEANS, PARTICLES
from dynaflex.run.files import ParticleLatents
from dynaflex.run.results import listed_in

_ROUNDING = 1e-3


def analysed_particles(folder: Path, latents: ParticleLatents) -> pd.DataFrame:
    """A line for each particle of a run with these ``latents``, in their order; of clusters 0 is none.

    Raises:
        UsageError: the run has not been analysed, or has changed since.
        DamagedCheckpointError: the table is not what was written.
    """
    path, listed = folder / PARTICLES, listed_in(folder, ANALYSIS)
    if not listed.has(PARTICLES):
        raise UsageError(
            "analysis.missing", "this run has not been analysed",
            file=path, expected=f"{PARTICLES} of dynaflex analyze", fix="dynaflex analyze RUN first",
        )  # fmt: skip
    fault = listed.fault(PARTICLES)
    if fault is not None:
        raise _damaged(path, fault)
    try:
        table = pd.read_csv(path).astype({"row": int, "half": int, K_MEANS: int, DENSITY: int})
        stored = table[[f"latent{axis + 1}" for axis in range(latents.mean.shape[1])]].to_numpy(np.float64)
    except (OSError, ValueError, LookupError, TypeError, OverflowError) as error:
        raise _damaged(path, error) from error
    if not np.array_equal(np.sort(table["row"].to_numpy()), np.sort(latents.rows)):
        raise _older(path, f"is of {len(table):,} particles, and the run has {len(latents.rows):,}")
    order = table["row"].to_numpy().argsort()[latents.rows.argsort().argsort()]
    same = np.abs(stored[order] - latents.mean).max(initial=0.0) < _ROUNDING
    if not same or (table["half"].to_numpy()[order] != latents.half).any():
        raise _older(path, "was made before the latents changed")
    if not np.isfinite(table.select_dtypes("number").to_numpy()).all():
        raise _damaged(path, "gaps in it")
    return table.iloc[order].reset_index(drop=True)


def numbered(table: pd.DataFrame, prefix: str) -> list[str]:
    """The columns of a prefix and a number, by their numbers."""
    numbers = {name: name.removeprefix(prefix) for name in map(str, table.columns) if name.startswith(prefix)}
    return sorted((name for name, number in numbers.items() if number.isdigit()), key=lambda name: int(numbers[name]))


def _older(path: Path, why: str) -> UsageError:
    return UsageError("analysis.older", f"this analysis {why}", file=path, fix="dynaflex analyze RUN again")


def _damaged(path: Path, found: object) -> DamagedCheckpointError:
    return DamagedCheckpointError(
        "analysis.damaged", "this analysis is damaged",
        file=path, expected="the table that dynaflex analyze wrote", found=found, fix="dynaflex analyze RUN again",
    )  # fmt: skip
