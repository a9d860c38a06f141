"""What the files of a run hold. Each has one reader, here or where its kind lives, and all of them verify it first."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from dynaflex.errors import DamagedCheckpointError, DynaflexError
from dynaflex.io.mrc import MrcMap, Place
from dynaflex.io.mrc import read_map as read_mrc
from dynaflex.io.star import StarFile, read_star
from dynaflex.run.directory import PROVENANCE, Run
from dynaflex.shapes import FloatArray, IntArray

if TYPE_CHECKING:
    from dynaflex.grid import Grid

_T = TypeVar("_T", int, float)
TABLE, LATENTS, MOTION, GRID, FSC, MESH = (
    "particles.star", "latents.npz", "motion.npz", "grid.json", "fsc.json", "mesh.npz",
)  # fmt: skip

NOISE: Final = "noise.json"
"""Of runs on optics groups whose noise differs: its power in each shell, of all particles and of each group relative to
that."""

UNIT: Final = "unit"
"""The map of a symmetric run that says what moves, the asymmetric unit: weights that add up to 1 over the group."""

INPUT_CS: Final = "input.cs"
"""The table of a run that was made from cryoSPARC's particles, as cryoSPARC wrote it, passthrough columns with it."""

OURS = "dynaflex"
"""How the columns begin that a run adds to its table; whoever takes rows of it for another run leaves them out."""
LATENT_COLUMN, CONTRAST_COLUMN = f"{OURS}Latent", f"{OURS}Contrast"
"""Columns of latents are numbered from 1."""


@dataclass(frozen=True)
class ParticleLatents:
    """``latents.npz``: rows of the input table ``rows`` ``(p)`` in rising order, the ``half`` ``(p)`` of each, 1 or 2,
    and the ``mean`` ``(p k)`` and ``scale`` ``(p k)`` of its latents, in standard deviations of the prior."""

    rows: IntArray
    half: IntArray
    mean: FloatArray
    scale: FloatArray

    def take(self, which: IntArray) -> ParticleLatents:
        """Those of some of the rows, ``which`` ``(n)``."""
        return ParticleLatents(self.rows[which], self.half[which], self.mean[which], self.scale[which])

    def of_half(self, half: int) -> tuple[IntArray, FloatArray]:
        """Rows ``(p)`` and mean latents ``(p k)`` of one half."""
        mine = self.half == half
        return self.rows[mine], self.mean[mine]


@dataclass(frozen=True)
class StoredMotion:
    """``motion.npz``, which holds values of points and of particles, those of half 1 before those of half 2.

    Of ``points`` ``(n 3)`` in Å: the ``rms_displacement`` ``(n)`` over all particles, the principal ``direction``
    ``(n 3)`` as long as the displacement along it, and the ``error`` ``(n)`` by which the two halves disagree, all Å.
    Of particles ``(p)``: the ``displacement_norm`` in Å, rms over the points, and ``misfit`` and ``gain`` of
    :class:`dynaflex.results.trained.TrainedHalf`.

    How far displacements are from the truth, as :mod:`dynaflex.results.certainty` measures it, NaN where nothing tells:
    the standard error of the decoder ``decoder_error`` ``(n 3)`` in Å along x, y, z, the ``unit_variance`` ``()`` that
    the latents' posteriors are to be multiplied by, and both together as the ``point_error`` ``(n)``, rms over
    particles, and the ``particle_error`` ``(p)``, rms over points, in Å.
    """

    points: FloatArray
    rms_displacement: FloatArray
    direction: FloatArray
    error: FloatArray
    displacement_norm: FloatArray
    misfit: FloatArray
    gain: FloatArray
    decoder_error: FloatArray
    unit_variance: FloatArray
    point_error: FloatArray
    particle_error: FloatArray


@dataclass(frozen=True)
class Grids:
    """``grid.json``: the grid of the images and maps, the one of training, and where the corner of the maps lies."""

    full: Grid
    train: Grid
    place: Place


def read_latents(run: Run) -> ParticleLatents:
    """The latents of all particles.

    Raises:
        UsageError: there are none yet.
        DamagedCheckpointError: the file is not what the run wrote.
    """
    found = _arrays(run, LATENTS, ("index", "half", "mean", "scale"))
    index, half, mean, scale = (found[name] for name in ("index", "half", "mean", "scale"))
    fits = mean.ndim == 2 and scale.shape == mean.shape and index.shape == half.shape == mean.shape[:1]
    if not fits or not np.isin(half, (1, 2)).all() or not np.isfinite(mean).all():
        raise _damaged(run, LATENTS, "finite latents (p, k) of rows in half 1 or 2")
    return ParticleLatents(
        index.astype(np.int64), half.astype(np.int64), mean.astype(np.float32), scale.astype(np.float32)
    )


def particles_shown(run: Run) -> IntArray:
    """The row of the particle ``(p)`` that each row of ``latents.npz`` shows: its own, or the first of its tilt series;
    errors as :func:`read_latents`."""
    if "tilted" not in run.read_json(PROVENANCE).get("counts", {}):
        return read_latents(run).rows
    return _arrays(run, LATENTS, ("particle",))["particle"].astype(np.int64)


def read_motion(run: Run) -> StoredMotion:
    """How everything moves; errors as :func:`read_latents`."""
    names = tuple(StoredMotion.__dataclass_fields__)
    found = _arrays(run, MOTION, names[:7])
    n, p = len(found["points"]), len(found["displacement_norm"])
    shapes = [(n, 3), (n,), (n, 3), (n,), (p,), (p,), (p,), (n, 3), (), (n,), (p,)]
    # Runs of earlier versions have none of the last.
    unknown = {name: np.full(shape, np.nan) for name, shape in zip(names[7:], shapes[7:], strict=True)}
    found = unknown | found
    if [found[name].shape for name in names] != shapes:
        raise _damaged(run, MOTION, "values of points (n) and of particles (p)")
    return StoredMotion(**{name: found[name].astype(np.float32) for name in names})


def read_grids(run: Run) -> Grids:
    """The grids of a run; errors as :func:`read_latents`."""
    from dynaflex.grid import Grid

    found = run.require_json(GRID)
    try:
        return Grids(
            Grid(int(found["box"]), float(found["pixel_size"])),
            Grid(int(found["train_box"]), float(found["train_pixel_size"])),
            Place(_three(float, found.get("origin", (0.0,) * 3)), _three(int, found.get("start", (0,) * 3))),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise _damaged(run, GRID, "boxes and pixel sizes") from error


def _three(kind: Callable[[Any], _T], values: Sequence[Any]) -> tuple[_T, _T, _T]:
    first, second, third = map(kind, values)
    return first, second, third


def read_map(run: Run, name: str) -> MrcMap:
    """A map of the run, ``map_half1`` for ``maps/map_half1.mrc``; errors as :func:`read_latents`."""
    return read_mrc(run.verified(f"maps/{name}.mrc"))


def has_map(run: Run, name: str) -> bool:
    """True if the run has made this map."""
    return run.files.has(f"maps/{name}.mrc")


def read_table(run: Run) -> StarFile:
    """The run's own copy of its particle table, with halves and latents; errors as :func:`read_latents`."""
    return read_star(run.verified(TABLE))


def _arrays(run: Run, name: str, required: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """The arrays of a NumPy archive, all those that must be there among them."""
    path = run.verified(name)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            found = {key: archive[key] for key in archive.files}
        if any(found[key].dtype.kind not in "iuf" for key in required):
            raise ValueError("not numbers")
    except (OSError, ValueError, LookupError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise _damaged(run, name, f"a NumPy archive with {', '.join(required)}") from error
    return found


def _damaged(run: Run, name: str, expected: str) -> DynaflexError:
    path: Path = run.path / name
    return DamagedCheckpointError(
        "run.damaged-file", "this file of the run is damaged", file=path, expected=expected, fix=run.remedy(name)
    )
