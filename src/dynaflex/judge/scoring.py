"""What a finished run of either method is judged by: its latents, its motion and its maps, against a known truth.

The ideal is a reconstruction from the same images by the same solver with the true motion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree

from dynaflex import tell
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.pose import Pose, project
from dynaflex.io.mrc import write_map
from dynaflex.judge.scene import Judge, Scene, SimulatedScene
from dynaflex.judge.unit_scene import UnitScene
from dynaflex.prepare.images import ParticleImages, seen_as_on
from dynaflex.prepare.place import place_of
from dynaflex.reconstruct.field import Field, Region
from dynaflex.reconstruct.operator import Operator
from dynaflex.reconstruct.postprocess import from_unit
from dynaflex.results.half_maps.made import SOLVERS
from dynaflex.results.reopen import Moved, reopened
from dynaflex.results.trained import config_of, displacements, load_half
from dynaflex.results.volumes import carried_map
from dynaflex.rotations import point_group
from dynaflex.run.directory import PROVENANCE, Run
from dynaflex.run.files import UNIT, has_map, particles_shown, read_grids, read_latents, read_map
from dynaflex.shapes import Array, FloatArray, IntArray, Tensor
from dynaflex.validate.cryobench import RADII, fsc_area, neighbourhood_similarity
from dynaflex.validate.score import (
    gap_closed,
    knn_r2,
    linear_r,
    motion_slope,
    rms_displacement,
    rotation_slope,
    variance_explained,
)

SCORED = 600
"""Particles of a half whose displacements are compared with the truth."""
SMALLEST_GAP = 0.02
"""Of mean FSC between the rigid and the ideal map; less than this cannot be closed or opened in earnest."""
REACH = 12.0
"""Å from the nearest atom beyond which a voxel holds no density."""
IDEAL = "true_motion"
_IMAGES_AT_ONCE = 16


def score_run(run: Run, truth: Path, images: int, ideal: bool, moved: Moved) -> dict[str, Any]:
    """All scores of both halves against the truth of ``dynaflex simulate``, for machines.

    ``images`` particles of each half are taken for the scores per image. With ``ideal`` the maps with the true motion
    are made first, ``maps/true_motion_half1.mrc`` and 2; where they exist the gaps are scored too.

    Raises:
        InputError: the truth cannot be read, or is that of other particles.
        UsageError: the run has not been trained to its end.
    """
    scene = scene_of(run, truth)
    _require_same(run, truth, scene)
    scores: dict[str, Any] = {"motion": scene.truth.motion.name, "snr": scene.truth.snr}
    for half in (1, 2):
        maps = half_maps(run.path, half)
        found: dict[str, Any] = {}
        with tell.doing(f"latents and motion of half {half}"):
            if scene.moving:
                rows, latents = latents_of(run.path, half)
                found |= scores_of_latents(latents, scene.coordinate[rows])
            # Without maps nothing tells which conformation the model calls the one at rest; the middle one is taken.
            state = Judge(scene).state(maps["corrected"]) if maps else np.zeros(len(scene.moving))
            found |= motion_scores(run.path, scene, half, state)
        if maps:
            found["state_at_rest_deg"] = np.degrees(state).tolist()
            if ideal:
                maps[IDEAL] = true_motion_reconstruction(run.path, scene, half, moved)
                with run.files.writing(f"maps/{IDEAL}_half{half}.mrc") as path:
                    write_map(path, maps[IDEAL].numpy(), scene.grid.pixel_size, place_of(run, scene.grid))
            with tell.doing(f"maps of half {half}"):
                found |= map_scores(scene, maps)
            if isinstance(scene, SimulatedScene):
                found["fsc_area_per_image"] = per_image_area(run, scene, half, images)
        scores[f"half{half}"] = found
    return scores


def scene_of(run: Run, truth: Path) -> SimulatedScene | UnitScene:
    """What a run is judged by: its particles, or where it has the symmetry of the truth one unit of every copy.

    Raises:
        InputError: the truth cannot be read.
    """
    scene = SimulatedScene.read(truth)
    same = torch.equal(point_group(config_of(run).symmetry), point_group(scene.truth.symmetry))
    if scene.truth.symmetry == "C1" or not same:
        return scene
    return UnitScene(scene.truth, torch.from_numpy(read_map(run, UNIT).data))


def latent_scores(run: Path, scene: Scene, half: int) -> dict[str, list[float]]:
    """How well the latents of a half predict each true coordinate."""
    rows, latents = latents_of(run, half)
    return predictions(latents, scene.coordinate[rows])


def scores_of_latents(latents: FloatArray, coordinate: Array) -> dict[str, Any]:
    """What latents ``(p k)`` know of true coordinates ``(p c)``: predictions and CryoBench's neighbourhoods."""
    shares = neighbourhood_similarity(latents, coordinate)
    near = {f"{radius:.0%}": float(share) for radius, share in zip(RADII, shares, strict=True)}
    return {**predictions(latents, coordinate), "neighbourhood_similarity": near}


def predictions(latents: FloatArray, coordinate: Array) -> dict[str, list[float]]:
    """How well latents ``(p k)`` predict each of the true coordinates ``(p c)``."""
    return {"knn_r2": knn_r2(latents, coordinate).tolist(), "linear_r": linear_r(latents, coordinate).tolist()}


def motion_scores(run: Path, scene: Scene, half: int, matched: Array) -> dict[str, float]:
    """How well the displacements of the atoms are predicted, in Å and as parts of their variance.

    The model is asked about the atoms where its map has them, in the ``matched`` state.
    """
    rows, _ = latents_of(run, half)
    rows = np.sort(np.random.default_rng(half).choice(rows, min(SCORED, len(rows)), replace=False))
    shift = scene.displacement(scene.points, scene.domain, matched[None])[0]
    home = scene.points + shift
    predicted = displacements(run, home.astype(np.float32), rows.tolist(), half)
    true = scene.displacement(scene.points, scene.domain, scene.coordinate[rows]) - shift
    scores: dict[str, float] = {}
    for column, part in enumerate(scene.moving):
        mine = scene.domain == part.index
        scores |= {
            f"{part.name}_variance_explained": variance_explained(predicted[:, mine], true[:, mine]),
            f"{part.name}_motion_slope": motion_slope(predicted[:, mine], true[:, mine]),
            f"{part.name}_true_rms": rms_displacement(true[:, mine]),
            f"{part.name}_found_rms": rms_displacement(predicted[:, mine]),
            f"{part.name}_error_rms": rms_displacement(predicted[:, mine] - true[:, mine]),
        }
        if part.axis is not None:
            angle = scene.coordinate[rows, column]
            slope = rotation_slope(home[mine], predicted[:, mine], part.axis, angle)
            scores[f"{part.name}_rotation_slope"] = slope
    still = scene.domain == scene.still.index
    return {**scores, f"{scene.still.name}_motion_rms": rms_displacement(predicted[:, still])}


def map_scores(scene: Scene, maps: dict[str, Tensor]) -> dict[str, float]:
    """Mean FSC of each of the ``maps`` with the truth, in each part and in the whole molecule; of the gap between the
    rigid and the ideal map in the moving parts, what was closed, NaN where there is next to none."""
    judge = Judge(scene)
    curves = {name: judge.curves(volume) for name, volume in maps.items()}
    scores: dict[str, float] = {}
    moving = [part.name for part in scene.moving]
    for part in curves["corrected"]:
        mean = {name: float(curve[part][1:].mean()) for name, curve in curves.items()}
        scores |= {f"{part}_fsc_{name}": value for name, value in mean.items()}
        if part in moving and IDEAL in mean:
            closed = gap_closed(mean["rigid"], mean["corrected"], mean[IDEAL])
            scores[f"{part}_gap_closed"] = closed if mean[IDEAL] - mean["rigid"] > SMALLEST_GAP else math.nan
        if part == scene.still.name:
            scores[f"{part}_loss_to_rigid"] = mean["rigid"] - mean["corrected"]
    return scores


def per_image_area(run: Run, scene: SimulatedScene, half: int, images: int) -> dict[str, float]:
    """The area under the FSC curve between the conformation of a particle and its true map, as CryoBench takes it: the
    mean over so many particles of a half, its spread, and the same within the molecule's mask."""
    rows, _ = latents_of(run.path, half)
    trained = load_half(run, half)
    carried = carried_map(run, trained)
    areas = []
    for row in tell.each(rows[:: max(1, len(rows) // images)][:images], f"conformations of half {half}"):
        areas.append(areas_of(scene, carried.at(trained.latents_of([int(row)])[0]), row))
    return area_summary(areas, carried.grid.box)


def areas_of(scene: SimulatedScene, volume: Tensor, row: int) -> tuple[float, float]:
    """The area under the FSC curve between a map ``(d d d)`` and the true one of the particle in a row, whole and
    within the molecule's mask."""
    state = scene.coordinate[row]
    true = scene.volume(state)
    return fsc_area(volume, true), fsc_area(volume, true, scene.mask(state, None))


def area_summary(areas: list[tuple[float, float]], box: int) -> dict[str, float]:
    """Mean and spread of areas, whole and within the mask, and the area of a ``perfect`` map of the ``box``."""
    plain, masked = np.array(areas).T
    return {
        "mean": float(plain.mean()),
        "std": float(plain.std()),
        "masked_mean": float(masked.mean()),
        "masked_std": float(masked.std()),
        "perfect": 0.5 - 1.0 / box,
        "images": len(areas),
    }


def half_maps(run: Path, half: int) -> dict[str, Tensor]:
    """The rigid, the corrected and, where it was made, the ideal map of one half; none before there are any."""
    opened = Run.open(run)
    files = {name: f"{file}_half{half}" for name, file in (("rigid", "rigid"), ("corrected", "map"), (IDEAL, IDEAL))}
    if not has_map(opened, files["corrected"]):
        return {}
    there = {name: file for name, file in files.items() if has_map(opened, file)}
    maps = {name: torch.from_numpy(read_map(opened, file).data) for name, file in there.items()}
    # The ideal map is not made again with the others.
    return {name: volume for name, volume in maps.items() if volume.shape == maps["corrected"].shape}


def latents_of(run: Path, half: int) -> tuple[IntArray, FloatArray]:
    """Rows of the input table ``(p)`` and mean latents ``(p k)`` of one half, one row for each particle."""
    opened = Run.open(run)
    rows, latents = read_latents(opened).of_half(half)
    one = np.isin(rows, particles_shown(opened))
    return rows[one], latents[one]


class KnownField(Field):
    """Every voxel carried as the nearest atom truly moves; voxels that hold no density stay where they are."""

    def __init__(self, scene: Scene, grid: Grid) -> None:
        super().__init__(Region.sphere(grid, torch.device("cpu")))
        points = self.region.points.double().numpy()
        near = np.flatnonzero(cKDTree(scene.points).query(points, distance_upper_bound=REACH)[0] < REACH)
        self.scene, self.home, self.owner = scene, points[near], scene.owner(points[near])
        self.near = torch.from_numpy(near)

    def image_points(self, latents: Tensor | None, pose: Pose) -> Tensor:
        """Image positions ``(b n 2)`` in Å of the voxels in the conformations ``latents`` ``(b c)``."""
        positions = project(self.region.points, pose)
        if latents is not None:
            moved = torch.from_numpy(self.scene.displacement(self.home, self.owner, latents.numpy())).float()
            positions.transpose(1, 2)[:, :, self.near] += torch.bmm(pose.rotation[:, :2], moved.transpose(1, 2))
        return positions


def true_motion_reconstruction(run: Path, scene: Scene, half: int, moved: Moved) -> Tensor:
    """The ideal: the solver and the images of the run, but every voxel moved as the nearest atom truly moved."""
    opened = Run.open(run)
    inputs = reopened(opened, moved)
    particles = inputs.particles.take(inputs.particles.half == half)
    coordinate = torch.from_numpy(scene.coordinate[particles.rows])
    plain = ParticleImages(particles, inputs.full_imaging, torch.device("cpu"))
    images = seen_as_on(inputs.imaging, plain, load_half(opened, half).noise)

    def batches() -> Iterator[Batch]:
        parts = torch.arange(len(images)).split(_IMAGES_AT_ONCE)
        for part in tell.each(parts, f"true motion of half {half}, once through the particles"):
            yield images.batch(part, latents=coordinate[part])

    volume = SOLVERS[config_of(opened).solver](Operator(KnownField(scene, images.grid)).equations(batches))
    return volume if inputs.unit is None else from_unit(volume, inputs.unit, inputs.group)


def _require_same(run: Run, path: Path, scene: SimulatedScene | UnitScene) -> None:
    """Refuse the truth of another data set."""
    grid, counts = read_grids(run).full, run.read_json(PROVENANCE).get("counts", {})
    then = (counts.get("table"), grid.box, grid.pixel_size)
    given = (len(scene.coordinate), scene.grid.box, scene.grid.pixel_size)
    if then[:2] != given[:2] or not math.isclose(then[2] or 0.0, given[2], rel_tol=1e-4):
        raise InputError(
            "score.other-data", "this is not the truth of the particles of this run",
            file=path, expected="{} particles, box {}, {} Å pixels".format(*then),
            found="{} particles, box {}, {} Å pixels".format(*given),
            fix="give the truth.npz that was written beside these particles",
        )  # fmt: skip
