"""How fast the kernels of 3DFlex are, against plain torch in the same process, and how much memory they take.

Carrying and splatting: an ellipsoid that fills 19 % of the box, carried by a regular mesh of about 1,200 vertices and
5,000 tetrahedra, forward and backward to vertices and voxels; beside it the gather of four vertices per voxel and 16
scatter_adds, with autograd. Rigidity: energy and its gradient to the vertices; beside it torch.linalg.svdvals.

    python benchmarks/kernels.py [--threads 1] [--rounds 9]

Prints one JSON line per measurement. Times are CPU time, medians over rounds in which both take turns.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable

import torch

from dynaflex import kernels
from dynaflex.grid import Grid
from dynaflex.imaging.splat import fine_box
from dynaflex.kernels import MeshTable, RigidityTable, native
from dynaflex.mesh.build import lattice
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.mesh.voxels import cell_of_voxels
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor
from dynaflex.spent import forget_memory, memory_mb

CUBES = 16
BATCHES = {64: 8, 128: 4}
MEMORY_BATCH = 8


def main() -> None:
    """Measure the splat at two sizes and the rigidity."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    native.set_threads(options.threads)
    for box, batch in BATCHES.items():
        print(json.dumps(splat_figures(box, batch, options.rounds)), flush=True)
    print(json.dumps(rigidity_figures(options.rounds)), flush=True)


def splat_figures(box: int, batch: int, rounds: int) -> dict[str, object]:
    """Rates of the fused kernel and of plain torch in voxel-images per second, and the memory of both."""
    mesh, points, table = carried_ellipsoid(box)
    steps = {name: splat_step(name, box, batch, mesh, table) for name in ("fused", "naive")}
    times = interleaved(steps, rounds)
    work = 1e-6 * batch * table.count
    return {
        "benchmark": "mesh_splat",
        "box": box,
        "image": fine_box(points),
        "batch": batch,
        "voxels": table.count,
        "vertices": table.nodes,
        "cells": len(mesh.cells),
        "fused_mvoxel_images_per_s": round(work / median(times["fused"]), 1),
        "naive_mvoxel_images_per_s": round(work / median(times["naive"]), 2),
        "times_faster": round(median(ratios(times["naive"], times["fused"])), 1),
        "peak_extra_mb_at_batch_8": {name: peak_memory(name, box) for name in steps},
    }


def rigidity_figures(rounds: int, batch: int = 16) -> dict[str, object]:
    """Rates of the rigidity kernel and of singular values in cells per second."""
    mesh, _, _ = carried_ellipsoid(64)
    table = RigidityTable(mesh.vertices, mesh.cells, mesh.weights)
    noise = 0.3 * torch.randn(batch, *mesh.vertices.shape, generator=torch.Generator().manual_seed(0))
    positions = (mesh.vertices + noise).transpose(1, 2).contiguous()
    steps = {
        "kernel": lambda: kernels.rigidity(positions.requires_grad_(), table).sum().backward(),
        "svdvals": lambda: rigidity_by_svdvals(positions.requires_grad_(), table).sum().backward(),
    }
    times = interleaved(steps, rounds)
    work = 1e-6 * batch * len(mesh.cells)
    return {
        "benchmark": "rigidity",
        "batch": batch,
        "cells": len(mesh.cells),
        "kernel_mcells_per_s": round(work / median(times["kernel"]), 1),
        "svdvals_mcells_per_s": round(work / median(times["svdvals"]), 3),
        "times_faster": round(median(ratios(times["svdvals"], times["kernel"])), 1),
    }


def carried_ellipsoid(box: int) -> tuple[TetMesh, Grid, MeshTable]:
    """A mesh over an ellipsoid with unequal axes, and its voxels."""
    grid = Grid(box, 192.0 / box)
    radius = (0.19 * 0.75 / torch.pi) ** (1 / 3) * grid.width
    axes = radius * torch.tensor([1.15, 0.95, 0.92])
    inside = ((grid.points() / axes).square().sum(dim=1) < 1.0).view(box, box, box)
    mesh = lattice(inside, grid, CUBES)
    cell = cell_of_voxels(mesh, grid)[inside]
    return mesh, grid, MeshTable(mesh.vertices, mesh.cells, grid.points()[inside.flatten()], cell, grid.pixel_size)


def splat_step(name: str, box: int, batch: int, mesh: TetMesh, table: MeshTable) -> Callable[[], None]:
    """One splat and its gradients, of random views of a slightly deformed mesh."""
    fine = fine_box(Grid(box, 192.0 / box))
    generator = torch.Generator().manual_seed(0)
    moved = mesh.vertices + torch.randn(batch, *mesh.vertices.shape, generator=generator)
    rows = random_rotations(batch, generator).float()[:, :2]
    positions = rows @ moved.transpose(1, 2) * (fine / 192.0) + fine // 2
    weights = torch.rand(table.count, generator=generator)
    probe = torch.randn(batch, fine, fine, generator=generator)
    if name == "fused":
        splat = kernels.mesh_splat
    else:
        splat = naive_mesh_splat
        # Not part of what is timed: the table of the plain version.
        _ = table.vertex, table.barycentric

    def step() -> None:
        leaves = positions.clone().requires_grad_(), weights.clone().requires_grad_()
        splat(*leaves, table, fine).backward(probe)

    return step


def naive_mesh_splat(positions: Tensor, weights: Tensor, table: MeshTable, box: int) -> Tensor:
    """What one writes down first: four vertices per voxel, sixteen pixels per voxel."""
    points = (positions[:, :, table.vertex] * table.barycentric.float()).sum(dim=-1)
    base = points.detach().floor()
    fraction = points - base
    corner = base.long() - 1
    inside = ((corner >= 0) & (corner < box - 3)).all(dim=1)
    first = (corner[:, 1] * box + corner[:, 0]) * inside
    across, down = spline_taps(fraction[:, 0]), spline_taps(fraction[:, 1])
    images = torch.zeros(len(positions), box * box)
    for j in range(4):
        for i in range(4):
            images = images.scatter_add(1, first + j * box + i, across[i] * down[j] * (weights * inside))
    return images.view(-1, box, box)


def spline_taps(fraction: Tensor) -> list[Tensor]:
    """The weights of the four pixels along one axis."""
    first, last = (1 - fraction) ** 3 / 6, fraction**3 / 6
    second = 2 / 3 - fraction * fraction * (1 - fraction / 2)
    return [first, second, 1 - first - second - last, last]


def rigidity_by_svdvals(positions: Tensor, table: RigidityTable) -> Tensor:
    """The energy from the singular values, through their own derivative."""
    corners = positions[:, :, table.vertex]
    F = torch.einsum("bitk,tkj->btij", corners[..., 1:] - corners[..., :1], table.inverse_edges.float())
    energy = (torch.linalg.svdvals(F) - 1).square().sum(dim=-1)
    return (energy * table.weights.float()).sum(dim=-1)


def interleaved(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of every step in every round, after one round that does not count.

    A step is repeated until a tenth of a second is over, because the clock and the caches need time to settle.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(rounds + 1):
        for name, step in steps.items():
            repeats, started, elapsed = 0, time.process_time(), 0.0
            while elapsed < 0.1:
                step()
                repeats, elapsed = repeats + 1, time.process_time() - started
            if round_number > 0:
                times[name].append(elapsed / repeats)
    return times


def ratios(slow: list[float], fast: list[float]) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(slow, fast, strict=True)]


def median(values: list[float]) -> float:
    """The middle one."""
    return sorted(values)[len(values) // 2]


def peak_memory(name: str, box: int) -> float:
    """MB that a splat of 8 images takes above what is there before it, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_memory, (name, box))


def _peak_memory(name: str, box: int) -> float:
    torch.set_num_threads(1)
    native.set_threads(1)
    mesh, _, table = carried_ellipsoid(box)
    splat_step(name, box, 1, mesh, table)()
    step = splat_step(name, box, MEMORY_BATCH, mesh, table)
    forget_memory()
    before = memory_mb()
    step()
    return round(memory_mb() - before, 1)


if __name__ == "__main__":
    main()
