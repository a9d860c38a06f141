"""What a finished run of either method is judged by: its latents, its motion and its maps, against a known truth.

Maps are compared with the true conformation that each matches best where its domains move: the origin of the motion is
a free choice of the method. The ideal is a reconstruction from the same images by the same solver with the true motion.
"""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from fourier_insertion import reconstruct
from scipy.spatial import cKDTree

from dynaflex.grid import Grid
from dynaflex.imaging.pose import Pose, project
from dynaflex.io.mrc import read_map
from dynaflex.pipelines.inputs import InputPaths, read_inputs
from dynaflex.pipelines.maps import SOLVERS, views
from dynaflex.pipelines.predict import config_of, displacements
from dynaflex.pipelines.run import Run
from dynaflex.reconstruct.field import Field
from dynaflex.reconstruct.operator import Operator, Views
from dynaflex.shapes import Array, IntArray, Tensor
from dynaflex.validate.fsc import fourier_shell_correlation
from dynaflex.validate.score import (
    best_matching_state,
    gap_closed,
    knn_r2,
    linear_r,
    rms_displacement,
    rotation_slope,
    variance_explained,
)

SCORED = 600
"""Particles of a half whose displacements are compared with the truth."""
IMAGES_AT_ONCE = 16
SMALLEST_GAP = 0.02
"""Of mean FSC between the rigid and the ideal map; less than this cannot be closed or opened in earnest."""
REACH = 12.0
"""Å from the nearest atom beyond which a voxel holds no density."""
WHOLE = "whole"


@dataclass(frozen=True)
class Part:
    """A rigid domain of the molecule: its ``index`` and, where it turns about a hinge, the unit vector ``axis``."""

    name: str
    index: int
    axis: Array | None = None


class Scene(Protocol):
    """A data set whose truth is known.

    ``coordinate`` ``(p c)`` is the conformation of every particle. A *state* ``(m)`` has one coordinate per ``moving``
    part, each within ``limits``; ``search`` of its values are tried before the best is refined. ``points`` ``(n 3)``
    in Å are the atoms where nothing has moved, ``domain`` ``(n)`` the index of the part that each belongs to.
    """

    grid: Grid
    coordinate: Array
    moving: tuple[Part, ...]
    still: Part
    limits: tuple[float, float]
    search: int
    points: Array
    domain: IntArray

    def volume(self, state: Array) -> Tensor:
        """The true map ``(d d d)`` of a state."""

    def mask(self, state: Array | None, part: Part | None) -> Tensor:
        """A soft mask ``(d d d)`` around a part, or the molecule, in a state, or in all that the particles take."""

    def owner(self, points: Array) -> IntArray:
        """The part that points ``(n 3)`` belong to where nothing has moved: that of the nearest atom, ``(n)``."""

    def displacement(self, points: Array, owner: IntArray, coordinate: Array) -> Array:
        """How points ``(n 3)`` of these parts move in the conformations ``coordinate`` ``(b c)``, in Å ``(b n 3)``."""


@dataclass(frozen=True)
class Judge:
    """Compares maps with the truth of a scene."""

    scene: Scene

    def state(self, volume: Tensor) -> Array:
        """The state that a map matches best, found part by part where each part passes."""
        scene = self.scene
        state = np.full(len(scene.moving), sum(scene.limits) / 2.0)
        # Parts may see each other through their masks: a second round corrects for where the others were found.
        for _ in range(1 if len(state) == 1 else 2):
            for column, part in enumerate(scene.moving):
                render = partial(self._render, state.copy(), column)
                swept = scene.mask(None, part)
                state[column] = best_matching_state(volume, render, [scene.limits], swept, scene.search)[0]
        return state

    def curves(self, volume: Tensor) -> dict[str, Tensor]:
        """The FSC ``(s)`` with the best-matching state around every part, and around the whole molecule."""
        state = self.state(volume)
        true = self.scene.volume(state)
        around = {part.name: part for part in (*self.scene.moving, self.scene.still)} | {WHOLE: None}
        return {
            name: fourier_shell_correlation(volume, true, self.scene.mask(state, part)) for name, part in around.items()
        }

    def _render(self, state: Array, column: int, value: Array) -> Tensor:
        state[column] = value[0]
        return self.scene.volume(state)


def figures(run: Path, data: Path, scene: Scene, half: int) -> dict[str, object]:
    """All scores of one half."""
    maps = half_maps(run, half)
    matched = Judge(scene).state(maps["corrected"])
    return {
        "half": half,
        **latent_scores(run, scene, half),
        **motion_scores(run, scene, half, matched),
        **map_scores(run, data, scene, half),
        "matched_state": matched.tolist(),
    }


def latent_scores(run: Path, scene: Scene, half: int) -> dict[str, list[float]]:
    """How well the latents predict each true coordinate."""
    rows, latents = latents_of(run, half)
    coordinate = scene.coordinate[rows]
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
    scores = {}
    for column, part in enumerate(scene.moving):
        mine = scene.domain == part.index
        scores |= {
            f"{part.name}_variance_explained": variance_explained(predicted[:, mine], true[:, mine]),
            f"{part.name}_true_rms": rms_displacement(true[:, mine]),
            f"{part.name}_error_rms": rms_displacement(predicted[:, mine] - true[:, mine]),
        }
        if part.axis is not None:
            angle = scene.coordinate[rows, column]
            slope = rotation_slope(home[mine], predicted[:, mine], part.axis, angle)
            scores[f"{part.name}_rotation_slope"] = slope
    still = scene.domain == scene.still.index
    return {**scores, f"{scene.still.name}_motion_rms": rms_displacement(predicted[:, still])}


def map_scores(run: Path, data: Path, scene: Scene, half: int) -> dict[str, float | list[float]]:
    """Mean FSC with the truth of rigid, corrected and ideal maps, in what moves and in what does not.

    ``beyond`` are the means over the shells that training did not see, where there are any.
    """
    judge = Judge(scene)
    maps = half_maps(run, half) | {
        "true_motion": true_motion_reconstruction(run, scene, half),
        "fourier_insertion": torch.from_numpy(reconstruct(data / "particles.star", half)).float(),
    }
    curves = {name: judge.curves(volume) for name, volume in maps.items()}
    scores: dict[str, float | list[float]] = {}
    for part in curves["corrected"]:
        mean = {name: float(curve[part][1:].mean()) for name, curve in curves.items()}
        scores |= {f"{part}_fsc_{name}": value for name, value in mean.items()}
        if part in [moving.name for moving in scene.moving]:
            gap = mean["true_motion"] - mean["rigid"]
            closed = gap_closed(mean["rigid"], mean["corrected"], mean["true_motion"])
            scores[f"{part}_gap_closed"] = closed if gap > SMALLEST_GAP else math.nan
        if part == scene.still.name:
            scores[f"{part}_loss_to_rigid"] = mean["rigid"] - mean["corrected"]
            scores[f"{part}_loss_to_fourier_insertion"] = mean["fourier_insertion"] - mean["corrected"]
    unseen = Run.open(run).read_json("grid.json")["train_box"] // 2 + 1
    if unseen < scene.grid.box // 2:
        for part in curves["corrected"]:
            for name, curve in curves.items():
                scores[f"beyond_{part}_fsc_{name}"] = float(curve[part][unseen:-1].mean())
    return scores


def half_maps(run: Path, half: int) -> dict[str, Tensor]:
    """The rigid and the corrected map of one half."""
    files = {"rigid": f"rigid_half{half}.mrc", "corrected": f"map_half{half}.mrc"}
    return {name: torch.from_numpy(read_map(run / "maps" / file).data) for name, file in files.items()}


class KnownField(Field):
    """Every voxel carried as the nearest atom truly moves; voxels that hold no density stay where they are."""

    def __init__(self, scene: Scene, grid: Grid) -> None:
        super().__init__(grid, torch.device("cpu"))
        points = self.points.double().numpy()
        near = np.flatnonzero(cKDTree(scene.points).query(points, distance_upper_bound=REACH)[0] < REACH)
        self.scene, self.home, self.owner = scene, points[near], scene.owner(points[near])
        self.near = torch.from_numpy(near)

    def image_points(self, latents: Tensor | None, pose: Pose) -> Tensor:
        """Image positions ``(b n 2)`` in Å of the voxels in the conformations ``latents`` ``(b c)``."""
        positions = project(self.points, pose)
        if latents is not None:
            moved = torch.from_numpy(self.scene.displacement(self.home, self.owner, latents.numpy())).float()
            positions.transpose(1, 2)[:, :, self.near] += torch.bmm(pose.rotation[:, :2], moved.transpose(1, 2))
        return positions


def true_motion_reconstruction(run: Path, scene: Scene, half: int) -> Tensor:
    """The ideal: the solver and the images of the run, but every voxel moved as the nearest atom truly moved."""
    opened = Run.open(run)
    inputs = read_inputs(InputPaths.from_dict(opened.read_json("provenance.json")["inputs"]), config_of(opened))
    particles = inputs.particles.take(inputs.particles.half == half)
    coordinate = torch.from_numpy(scene.coordinate[particles.rows])
    imaging = inputs.full_imaging

    def batches(with_images: bool) -> Iterator[Views]:
        for part in torch.arange(len(particles)).split(IMAGES_AT_ONCE):
            yield views(particles, part, coordinate[part], imaging, torch.device("cpu"), with_images=with_images)

    return SOLVERS[config_of(opened).solver](Operator(KnownField(scene, imaging.grid)), batches)


def latents_of(run: Path, half: int) -> tuple[IntArray, Array]:
    """Rows of the input table ``(p)`` and mean latents ``(p k)`` of one half."""
    with np.load(run / "latents.npz") as stored:
        mine = stored["half"] == half
        return stored["index"][mine], stored["mean"][mine]


def trained(method: str, data: Path, run: Path, *options: object) -> Path:
    """A run of ``dynaflex METHOD`` on a simulated data set, its cost on a line of its own."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    inputs = (data / "particles.star", "--map", data / "consensus.mrc", "--mask", data / "mask.mrc")
    dynaflex(method, *inputs, "-o", run, *options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    cost = {"wall_s": time.perf_counter() - start, "cpu_s": cpu, "peak_gb": after.ru_maxrss / 2**20}
    show({"method": method, "data": data.name, "options": [str(option) for option in options], **cost})
    return run


def dynaflex(*arguments: object) -> None:
    """A command, as a user would give it; what it prints goes to stderr."""
    command = "from dynaflex.cli.main import main; main()"
    subprocess.run([sys.executable, "-c", command, *map(str, arguments)], check=True, stdout=sys.stderr)


def show(line: dict[str, object]) -> None:
    """One JSON line; what is not a number is null."""
    print(json.dumps({name: _rounded(value) for name, value in line.items()}), flush=True)


def _rounded(value: object) -> object:
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
