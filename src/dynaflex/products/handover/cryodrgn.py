"""A run as a folder that cryoDRGN's viewers open: particles, latents, clusters and maps. Its network is not ours.

Files are called as ``cryodrgn train_vae`` and ``cryodrgn analyze`` call theirs (read in version 4.3.1). Pickles hold
arrays alone.
"""

from __future__ import annotations

import json
from contextlib import suppress
from io import StringIO
from pathlib import Path

import numpy as np

from dynaflex.analyze.axes import principal_axes
from dynaflex.analyze.clusters import k_means
from dynaflex.data.foreign.cryodrgn import cryodrgn_arrays
from dynaflex.errors import UsageError
from dynaflex.io import durable
from dynaflex.io.foreign.pickled import write_pickled
from dynaflex.io.paths import absolute
from dynaflex.products.names import ANALYSIS
from dynaflex.products.space import ConformationSpace, conformation_space
from dynaflex.products.stored import analysed_particles
from dynaflex.products.subset import project_of, write_subset
from dynaflex.results.settings import inputs_of
from dynaflex.results.trained import TrainedHalf, load_half
from dynaflex.results.volumes import conformation_of, write_maps
from dynaflex.run.directory import Run
from dynaflex.run.files import read_grids, read_latents, read_table
from dynaflex.shapes import Array, IntArray

_CLUSTERS, _ALONG, _ENDS = 20, 10, (5.0, 95.0)
"""As many as ``cryodrgn analyze`` makes unless told otherwise, and the percentiles between which its paths go."""


def to_cryodrgn(run: Run, out: Path, named: Path) -> list[str]:
    """Write the folder into ``out``; how to look at it once that is ``named`` so, line by line.

    Raises:
        UsageError: a particle of the run has several images or conformations.
    """
    space = conformation_space(run)
    if len(np.unique(space.particle)) < len(space.rows) or len(np.unique(space.rows)) < len(space.rows):
        raise UsageError(
            "export.several-rows", "cryoDRGN knows one image and one conformation of a particle", file=run.path,
            expected="single particles without symmetry", found="tilt series, or units of symmetric particles",
            fix="dynaflex analyze and dynaflex view show these",
        )  # fmt: skip
    epoch = max((int(line["epoch"]) for line in run.metrics.lines() if "epoch" in line), default=1)
    z = space.latents if space.shared else space.motion
    _write_particles(run, space.rows, out, named)
    write_pickled(out / f"z.{epoch}.pkl", z.astype(np.float32))
    durable.write_text(out / "config.yaml", _settings(run, z.shape[1], named))
    analysis = out / f"analyze.{epoch}"
    _write_umap(run, space, analysis)
    halves = [load_half(run, half) for half in (1, 2)]
    _write_clusters(run, halves, space.rows, z, analysis)
    _write_paths(run, halves, space.rows, z, analysis)
    what = "the latents" if space.shared else "motion in Å, which both halves have in common"
    return [
        f"with cryoDRGN: cryodrgn dashboard {named}",
        f"z.{epoch}.pkl is {what}; clusters and paths with their maps are in analyze.{epoch}. There are no weights: "
        "what asks cryoDRGN's network for a map cannot be done there, and dynaflex volumes does it",
    ]


def _write_particles(run: Run, rows: IntArray, out: Path, named: Path) -> None:
    """The particles in use, their poses and their CTF, row by row the same."""
    write_subset(run, rows, out / "particles.star")
    rotation, translation, ctf = cryodrgn_arrays(read_table(run), rows, read_grids(run).full.box)
    write_pickled(out / "poses.pkl", (rotation, translation))
    write_pickled(out / "ctf.pkl", ctf)


def _settings(run: Run, coordinates: int, named: Path) -> str:
    """``config.yaml``, in the words of JSON, which YAML understands."""
    folder, project = absolute(named), project_of(run) or inputs_of(run).datadir
    return json.dumps(
        {
            "cmd": ["dynaflex", "export", str(run.path), "--to", "cryodrgn"],
            "dataset_args": {
                "particles": str(folder / "particles.star"),
                "datadir": None if project is None else str(project),
                "poses": str(folder / "poses.pkl"),
                "ctf": str(folder / "ctf.pkl"),
                "ind": None,
                "do_pose_sgd": False,
                "invert_data": False,
            },
            "model_args": {"zdim": coordinates},
        },
        indent=1,
    )


def _write_umap(run: Run, space: ConformationSpace, folder: Path) -> None:
    """The plane of UMAP, if ``dynaflex analyze --umap`` has found one of the run as it is."""
    latents = read_latents(run)
    with suppress(UsageError):
        found = analysed_particles(run.path / ANALYSIS, latents)
        if "umap1" in found:
            plane = found.set_index("row").loc[space.rows, ["umap1", "umap2"]].to_numpy(np.float32)
            write_pickled(folder / "umap.pkl", plane)


def _write_clusters(run: Run, halves: list[TrainedHalf], rows: IntArray, z: Array, analysis: Path) -> None:
    """Compact clusters, the particle in the middle of each, and its map."""
    label = k_means(z, _CLUSTERS) - 1
    count = int(label.max()) + 1
    middle = _nearest(z, np.stack([z[label == number].mean(axis=0) for number in range(count)]))
    folder = analysis / f"kmeans{count}"
    _write_shown(run, halves, rows, z, middle, folder, "maps of clusters")
    write_pickled(folder / "labels.pkl", label)
    _write_numbers(folder / "centers.txt", z[middle])
    _write_numbers(folder / "centers_ind.txt", middle[:, None])


def _write_paths(run: Run, halves: list[TrainedHalf], rows: IntArray, z: Array, analysis: Path) -> None:
    """Particles along each of the first principal components, and their maps."""
    axes = principal_axes(z, min(2, z.shape[1]))
    along = axes.coordinates(z)
    for number in range(along.shape[1]):
        low, high = (float(np.percentile(along[:, number], share)) for share in _ENDS)
        steps = np.linspace(low, high, _ALONG)
        shown = _nearest(z, axes.mean + steps[:, None] * axes.axes[number])
        _write_shown(run, halves, rows, z, shown, analysis / f"pc{number + 1}", f"maps of component {number + 1}")


def _write_shown(
    run: Run, halves: list[TrainedHalf], rows: IntArray, z: Array, shown: IntArray, folder: Path, title: str
) -> None:
    """The maps of some particles, each by the model of its own half, and where they lie."""
    durable.make_folder(folder)
    _write_numbers(folder / "z_values.txt", z[shown])
    write_maps(run, [conformation_of(halves, int(row)) for row in rows[shown]], folder, title=title, first=1)


def _nearest(z: Array, places: Array) -> IntArray:
    """The particle that is nearest to each of the places ``(n k)``."""
    return np.stack([np.linalg.norm(z - place, axis=1).argmin() for place in places])


def _write_numbers(path: Path, values: Array | IntArray) -> None:
    text = StringIO()
    np.savetxt(text, values, fmt="%d" if values.dtype.kind == "i" else "%.6g")
    durable.write_text(path, text.getvalue())
