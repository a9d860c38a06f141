"""A run, opened from Python to be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynaflex.api.maps import Maps
from dynaflex.api.paths import AnyPath
from dynaflex.api.words import speaks_python
from dynaflex.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynaflex.config import RunConfig
    from dynaflex.io.mrc import MrcMap
    from dynaflex.products.names import ClusterKind, Plane
    from dynaflex.report.notebook import Shown
    from dynaflex.results.trained import TrainedHalf
    from dynaflex.run.files import ParticleLatents
    from dynaflex.shapes import FloatArray, IntArray


@speaks_python
def open(run: AnyPath) -> Run:
    """A run that a command or :func:`train` has made, to be asked.

    Args:
        run: run directory.

    Raises:
        InputError: there is no run there, or another version made it, with other settings.
        DamagedCheckpointError: the list of its files is missing, damaged, or that of another run.

    Example:
        >>> run = df.open("run")
        >>> run.latents.mean.shape
        (2000, 2)
    """
    return Run(run)


class Run:
    """A run on disk. Opening it loads no model; what is asked of a model loads it, once.

    Halves that were trained apart have a latent space each: latents of half 1 mean nothing to half 2, unless the run
    was made with ``half_sets="shared"``. Rows are those of the input table, from 0; axes and halves count from 1.
    """

    def __init__(self, path: AnyPath) -> None:
        from dynaflex.results.settings import open_run

        self.path = Path(path)
        self._directory = open_run(self.path)
        self._halves: dict[int, TrainedHalf] = {}
        self._carried: dict[int, Any] = {}

    def __repr__(self) -> str:
        return f"<dynaflex run {self.path}>"

    @property
    def settings(self) -> RunConfig:
        """The settings that it was started with."""
        from dynaflex.results.settings import config_of

        return config_of(self._directory)

    @cached_property
    def latents(self) -> ParticleLatents:
        """What was found of each particle, in the order of the input table.

        ``rows`` ``(p)``, ``half`` ``(p)`` 1 or 2, and ``mean`` ``(p k)`` and ``scale`` ``(p k)`` of the latents, in
        standard deviations of the prior. ``of_half(1)`` gives rows and means of one half.

        Raises:
            UsageError: the run has not been trained yet.
            DamagedCheckpointError: the file is not what the run wrote.
        """
        from dynaflex.run.files import read_latents

        return read_latents(self._directory)

    @property
    def maps(self) -> Maps:
        """The maps by name."""
        return Maps(self._directory)

    def along(self, axis: int = 1, frames: int = 11, half: int = 1) -> FloatArray:
        """Latents ``(frames k)`` of a half along a principal ``axis``, from -2 to +2 standard deviations of the mean.

        Raises:
            UsageError: there is no such axis or half, or the half has not been trained to its end.

        Example:
            >>> start, *_, end = run.along(axis=1)
        """
        from dynaflex.results.volumes import along_axis, from_one

        mean = self._half(half).latents.mean
        return along_axis(mean, from_one(axis, mean.shape[1]), frames).numpy()

    @speaks_python
    def conformation(self, latents: ArrayLike, half: int = 1) -> MrcMap:
        """The map in the conformation ``latents`` ``(k)`` of the model of a half.

        It is the merged, locally filtered map within the mask, carried by the model; before there are maps, the trained
        density. Of the result ``data`` ``(d d d)`` is ``[z, y, x]`` and ``pixel_size`` in Å.

        Raises:
            UsageError: the latents are not of this run, or the half has not been trained to its end.
            DamagedCheckpointError: a file of the run is not what it wrote.

        Example:
            >>> df.write_map("opened.mrc", run.conformation(run.along(1)[-1]))
        """
        import torch

        from dynaflex.io.mrc import MrcMap
        from dynaflex.prepare.place import place_of
        from dynaflex.results.volumes import carried_map

        z = self._latents([latents], half)[0]
        if half not in self._carried:
            self._carried[half] = carried_map(self._directory, self._half(half))
        carried = self._carried[half]
        return MrcMap(
            carried.at(torch.from_numpy(z)).numpy(), carried.grid.pixel_size, place_of(self._directory, carried.grid)
        )

    @speaks_python
    def reconstruct(
        self,
        out: AnyPath | None = None,
        *,
        cluster: int | None = None,
        kind: ClusterKind = "kmeans",
        around: ArrayLike | None = None,
        half: int = 1,
        nearest: int | None = None,
        particles: Sequence[int] | IntArray | None = None,
        **making: Any,
    ) -> Path:
        """The half-maps of one state, from its own particles alone; the folder that they are in, as of
        ``dynaflex reconstruct`` with a state.

        Args:
            out: folder; default in the run, ``states/NAME``. Another state there is not replaced.
            cluster, kind: a cluster of ``dynaflex analyze``.
            around, half, nearest: the particles around latents ``(k)`` of a half, so many of each half.
            particles: rows of the input table.
            making: ``solver``, ``box``, ``symmetry``, ``b_factor``, ``device``, ``gpus`` and ``threads``, as of the
                command.

        Raises:
            UsageError: no state is named or several, a half has too few particles, or another state lies in ``out``.
            InputError, DamagedCheckpointError: an input of the run is gone, or is another.

        Example:
            >>> df.read_map(run.reconstruct(cluster=2) / "map.mrc").data
        """
        from dynaflex.api.states import state_of

        return state_of(self._directory, out, cluster, kind, around, half, nearest, particles, **making)

    @speaks_python
    def displacements(
        self, points: ArrayLike, particles: Sequence[int] | IntArray | None = None, half: int | None = None
    ) -> FloatArray:
        """Where the model moves ``points`` ``(n 3)`` in some particles: ``(b n 3)``.

        Both are (x, y, z) in Å with the origin at the box centre; a displacement is where a point of the map goes minus
        where it was.

        Args:
            points: ``(n 3)`` in Å.
            particles: rows of the input table ``(b)``; default all that have latents, as in ``latents.rows``.
            half: whose model; default that of the half each particle belongs to.

        Raises:
            UsageError: the points are none, or a particle was not used or is not in the ``half``.

        Example:
            >>> run.displacements([[0.0, 0.0, 40.0]], particles=[0, 5, 9]).shape
            (3, 1, 3)
        """
        from dynaflex.results.trained import displacements_in, rows_of

        halves = [self._half(number) for number in ((1, 2) if half is None else (half,))]
        rows = rows_of(halves) if particles is None else [int(row) for row in particles]
        return displacements_in(halves, _vectors(points, 3, "displacements.points", "these are no points"), rows)

    @speaks_python
    def select(
        self,
        out: AnyPath | None = None,
        *,
        latents: Mapping[int, tuple[float, float]] | None = None,
        particles: Sequence[int] | IntArray | None = None,
        polygon: ArrayLike | None = None,
        axes: Plane = "motion",
        columns: tuple[int, int] = (1, 2),
        cluster: int | None = None,
        kind: ClusterKind = "kmeans",
        half: int | None = None,
    ) -> IntArray:
        """The rows ``(b)`` of the particles that are chosen in one way, and their table at ``out``, if that is given.

        The table is a lossless copy of the input table: rows are left out, and halves added if the run
        drew them. As ``dynaflex select``.

        Args:
            out: file to write, ``.star``; ``.cs`` where the particles are cryoSPARC's.
            latents: lowest and highest value by axis: ``{1: (-0.5, 1.0)}``.
            particles: rows of the input table.
            polygon: corners ``(v 2)`` in a plane of what ``dynaflex analyze`` found; ``axes`` says which.
            axes: ``"motion"`` (Å, both halves), ``"pca"``, ``"latent"`` or ``"umap"``.
            columns: the two axes of that plane.
            cluster: a cluster of ``dynaflex analyze``.
            kind: which clusters: ``"kmeans"`` or ``"density"``.
            half: whose latents, where each half has its own.

        Raises:
            UsageError: no way is given or several, nothing is selected, or the run has not been analysed.
            InputError: a row is not in the table, or the polygon is none.

        Example:
            >>> rows = run.select("opened.star", latents={1: (1.0, 9.0)}, half=1)
        """
        import numpy as np

        from dynaflex.io import durable
        from dynaflex.prepare.fingerprint import own_files
        from dynaflex.products import selection
        from dynaflex.products.names import ANALYSIS
        from dynaflex.products.subset import write_subset

        outline = None
        if polygon is not None:
            outline = selection.outline_of(np.asarray(polygon, dtype=np.float64), axes, half, columns)
        rows = selection.chosen_rows(
            self._directory, self.path / ANALYSIS, cluster=cluster, kind=kind, outline=outline, latents=latents,
            particles=None if particles is None else np.asarray(particles, dtype=np.int64), half=half,
        )  # fmt: skip
        if out is not None:
            with durable.sparing(own_files(self.path)):
                write_subset(self._directory, rows, Path(out))
        return np.unique(rows)

    @speaks_python
    def show(self, latents: ArrayLike, half: int = 1) -> Shown:
        """A conformation ``(k)`` turning beside the mean one, or conformations ``(f k)`` as a film, for a notebook.

        What is shown is a page of its own that needs neither a network nor a kernel; ``save(path)`` writes it.

        Raises:
            UsageError: the latents are not of this run, or the half has not been trained to its end.
            InputError: the map cannot be read, or shows no molecule.

        Example:
            >>> run.show(run.along(1)[-1])
        """
        import numpy as np
        import torch

        from dynaflex.report.notebook import show_conformation, show_path

        one = np.ndim(latents) == 1
        z = torch.from_numpy(self._latents([latents] if one else latents, half))
        trained = self._half(half)
        return show_conformation(self._directory, trained, z[0]) if one else show_path(self._directory, trained, z)

    def _half(self, half: int) -> TrainedHalf:
        from dynaflex.results.trained import load_half

        if half not in (1, 2):
            raise UsageError("run.half", f"there is no half {half}", expected="1 or 2")
        if half not in self._halves:
            self._halves[half] = load_half(self._directory, half)
        return self._halves[half]

    def _latents(self, values: Any, half: int) -> FloatArray:
        count = self._half(half).latents.mean.shape[1]
        return _vectors(values, count, "run.latents", "these are no latents of this run")


def _vectors(values: Any, columns: int, identifier: str, problem: str) -> FloatArray:
    """Finite numbers ``(n columns)``."""
    import numpy as np

    from dynaflex.io.arrays import are_vectors

    found = np.asarray(values)
    if not are_vectors(found, columns):
        raise UsageError(identifier, problem, expected=f"finite numbers (n, {columns})", found=found.shape)
    return found.astype(np.float32)
