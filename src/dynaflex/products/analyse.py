"""What a trained run found, as tables, paths, maps and models in one folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dynaflex import tell
from dynaflex.analyze.axes import umap
from dynaflex.analyze.clusters import density_clusters, k_means, medoid
from dynaflex.io import durable
from dynaflex.palettes import CORRECTED
from dynaflex.prepare.place import frame_of
from dynaflex.products.atomic import AtomicModel
from dynaflex.products.chimerax import solids
from dynaflex.products.chimerax.script import SCRIPT, Played, side_by_side
from dynaflex.products.names import CLUSTERS, DENSITY, K_MEANS, MOTION, PARTICLES, SUMMARY
from dynaflex.products.series import (
    MAP_FRAME,
    DomainMotion,
    Domains,
    Series,
    find_domains,
    main_series,
    motion_table,
    write_series,
)
from dynaflex.products.space import ConformationSpace, conformation_space
from dynaflex.results.trained import TrainedHalf, load_half
from dynaflex.results.volumes import level_at_rest
from dynaflex.run.directory import Run
from dynaflex.shapes import Array, IntArray

_SMALLEST_CLUSTER = 0.02
ARROWS, MARKERS, MODEL = "motion.bild", "path.cmm", "model.cif"
"""What lies beside the maps of a series: where the domains go, their places along the way, and the moving model."""


@dataclass(frozen=True)
class Cluster:
    """A cluster of a ``kind``: how many particles, of which half, and the row of the one in its middle."""

    kind: str
    cluster: int
    particles: int
    share: float
    half1: int
    half2: int
    representative_row: int


@dataclass(frozen=True)
class Analysis:
    """All that was found. ``labels`` ``(p)`` by kind of cluster; ``plane`` ``(p 2)`` is UMAP's, if it was asked for."""

    run: Run
    half: int
    trained: TrainedHalf
    space: ConformationSpace
    labels: dict[str, IntArray]
    clusters: list[Cluster]
    plane: Array | None
    series: list[Series]
    domains: Domains
    motions: list[DomainMotion]


def analyse(
    run: Run,
    *,
    half: int,
    clusters: int,
    frames: int,
    with_umap: bool,
    segments: Path | None,
) -> Analysis:
    """Clusters of the particles of both halves, series of conformations of one, and what moves in them.

    Raises:
        UsageError: the run has not been trained to its end.
        InputError: the segments cannot be used.
        EnvironmentFault: UMAP is asked for and not installed.
    """
    with tell.doing("where the particles lie"):
        space = conformation_space(run)
    # A particle has as many rows as there are images of its tilt series, and lies in one place.
    _, one, of = np.unique(space.particle, return_index=True, return_inverse=True)
    motion, of = space.motion[one], of.reshape(-1)
    smallest = max(10, round(_SMALLEST_CLUSTER * len(one)))
    with tell.doing("clusters"):
        labels = {K_MEANS: k_means(motion, clusters)[of], DENSITY: density_clusters(motion, smallest)[of]}
        plane = umap(motion)[of] if with_umap else None
    trained = load_half(run, half)
    series = main_series(space, half, frames)
    with tell.doing("domains"):
        domains = find_domains(run, trained, series, segments)
    described = [found for kind, label in labels.items() for found in _described(space, kind, label, one)]
    return Analysis(run, half, trained, space, labels, described, plane, series, domains, motion_table(domains))


def read_model(run: Run, path: Path) -> AtomicModel:
    """An atomic model that was fitted into the map which the run was started with.

    Raises:
        InputError, EnvironmentFault: it cannot be read.
    """
    return AtomicModel(path, place_of_box(run))


def write_analysis(found: Analysis, out: Path, atoms: AtomicModel | None) -> None:
    """The tables, a folder with path, maps and, if there are ``atoms``, these in every series, and what ChimeraX
    opens."""
    out.mkdir(parents=True, exist_ok=True)
    _write_table(out / PARTICLES, _particles(found))
    _write_table(out / CLUSTERS, pd.DataFrame([asdict(cluster) for cluster in found.clusters]))
    _write_table(out / MOTION, pd.DataFrame([motion_row(motion) for motion in found.motions]))
    level = level_at_rest(found.run, found.trained)
    for series in found.series:
        _write_series(found, series, out / series.name, level, atoms)
    durable.write_json(out / SUMMARY, summary(found))


def _write_series(found: Analysis, series: Series, folder: Path, level: float, atoms: AtomicModel | None) -> None:
    """Maps, arrows, markers and perhaps the moving model of a series, and the script that shows all of them."""
    maps = write_series(found.run, found.trained, series, folder)
    center, domains, moved = place_of_box(found.run), found.domains, found.domains.moved[series.name]
    turns = {m.domain: m.motion for m in found.motions if m.series == series.name and m.frame == MAP_FRAME}
    arrows = solids.motion_of_domains(domains.points, moved[0], moved[-1], domains.label, turns, center)
    durable.write_text(folder / ARROWS, arrows)
    tracks = {f"domain {name}": moved[:, domains.label == name].mean(axis=1) for name in turns}
    durable.write_text(folder / MARKERS, solids.path_markers(tracks, center))
    script, playing = side_by_side(folder, [Played(maps, level, CORRECTED)])
    script.do("transparency #1 40")
    for name in (ARROWS, MARKERS):
        script.open(name)
    if atoms is not None:
        atoms.write_series(found.trained, series, folder / MODEL)
        script.open_atoms(MODEL)
    script.do("view", playing)
    script.write(folder / SCRIPT)


def motion_row(motion: DomainMotion) -> dict[str, Any]:
    """A line of the table of motions: degrees and Å, points (x, y, z) from the box centre."""
    found = motion.motion
    return {
        "series": motion.series,
        "domain": motion.domain,
        "points": motion.points,
        "seen_from": motion.frame,
        "rotation_deg": round(float(np.degrees(found.angle)), 3),
        **{f"axis_{name}": _rounded(value, 4) for name, value in zip("xyz", found.axis, strict=True)},
        **{f"axis_point_{name}": _rounded(value, 2) for name, value in zip("xyz", found.point, strict=True)},
        "translation_A": round(float(np.linalg.norm(found.translation)), 3),
        "slide_A": _rounded(found.slide, 3),
        "rmsd_A": round(found.rmsd, 3),
        "residual_A": round(found.residual, 3),
    }


def summary(found: Analysis) -> dict[str, Any]:
    """What was found, for machines."""
    space = found.space
    return {
        "particles": len(np.unique(space.particle)),
        "half_of_the_series": found.half,
        "latent_spaces_shared": space.shared,
        "latent_variance_share": {f"half{half}": axes.share.tolist() for half, axes in space.latent_axes.items()},
        "motion_rms_A": np.sqrt(space.motion_axes.variance).tolist(),
        "motion_variance_share": space.motion_axes.share.tolist(),
        "domains": {
            "origin": found.domains.origin,
            "points": {int(name): int((found.domains.label == name).sum()) for name in np.unique(found.domains.label)},
        },
        "series": [{"name": one.name, "title": one.title, "frames": len(one.latents)} for one in found.series],
        "clusters": [asdict(cluster) for cluster in found.clusters],
        "motion": [motion_row(motion) for motion in found.motions],
    }


def _described(space: ConformationSpace, kind: str, label: IntArray, one: IntArray) -> Iterator[Cluster]:
    """The clusters of particles, each of which has a row at the positions ``one``."""
    for name in range(1, int(label.max(initial=0)) + 1):
        mine = one[label[one] == name]
        first, second = (int((space.half[mine] == half).sum()) for half in (1, 2))
        middle = int(space.rows[mine[medoid(space.motion[mine])]])
        yield Cluster(kind, name, len(mine), round(len(mine) / len(one), 4), first, second, middle)


def _particles(found: Analysis) -> pd.DataFrame:
    space = found.space
    columns: dict[str, Any] = {"row": space.rows, "half": space.half, **found.labels}
    for name, values in (("latent", space.latents), ("pca", space.pca), ("motion", space.motion)):
        columns |= {f"{name}{axis}": np.round(value, 5) for axis, value in enumerate(values.T, 1)}
    if found.plane is not None:
        columns |= {f"umap{axis}": np.round(value, 4) for axis, value in enumerate(found.plane.T, 1)}
    return pd.DataFrame(columns)


def _write_table(path: Path, table: pd.DataFrame) -> None:
    durable.write_text(path, table.to_csv(index=False))


def place_of_box(run: Run) -> Array:
    """The box centre ``(3)`` in Å in the coordinates of the map that the run was started with, and of models fitted
    into it."""
    frame = frame_of(run)
    return np.array(frame.place.corner(frame.grid.pixel_size)) + frame.grid.center * frame.grid.pixel_size


def _rounded(value: float, digits: int) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None
