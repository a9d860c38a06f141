"""How fast a GPU computes: the kernels in Triton beside plain torch, and runs of both methods with either.

    python benchmarks/gpu.py [--box 64 --box 128] [--batch 16] [--rounds 9] [--particles 2000] [--epochs 20]

Kernels: the ellipsoid of ``kernels.py``, forward and backward to vertices and voxels, and the adjoint alone; 10,000
Gaussians; the rigidity of a mesh. Both take turns in every round, on the same arrays, and the ratio is the median of
those of the rounds; ``differ`` is by how much both disagree, of the largest number. A step is repeated until that takes
a tenth of a second, and the clock stops when the device has nothing left to do.

Runs: a hinge, trained and reconstructed by the program itself, with both in turn: milliseconds for a particle and an
epoch, and for a particle of the final maps, from ``spent.json``.

One JSON line for each. For a batch at box 256 plain torch takes many GB, so that this has to be asked for. Without a
GPU that Triton can use it says why, and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
from judge import dynaflex, show

from dynaflex import kernels
from dynaflex.imaging.splat import fine_box
from dynaflex.kernels import RigidityTable
from dynaflex.kernels.backend import SWITCH
from dynaflex.kernels.triton.cuda import hindrance
from dynaflex.rotations import random_rotations
from dynaflex.shapes import Tensor
from kernels import carried_ellipsoid

WAYS = {"triton": "", "torch": "reference"}
"""What the switch of the kernels says for each."""
GAUSSIANS, WIDTH = 10_000, 192.0
METHODS = ("flex", "dynamight")

Step = Callable[[], tuple[Tensor, ...]]


def main() -> None:
    """Measure kernels and runs, or say why not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--box", type=int, action="append")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--particles", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=20)
    given = parser.parse_args()
    reason = hindrance()
    if reason is not None:
        print(f"Nothing is measured, because {reason}.", file=sys.stderr)
        return
    device = torch.device("cuda")
    for box in given.box or (64, 128):
        for name, work, step in steps(box, given.batch, device):
            told = {"benchmark": "gpu_kernel", "device": kernels.described(device), "kernel": name, "box": box}
            show({**told, "batch": given.batch, **figures(step, work, given.rounds, device)})
    for method in METHODS:
        show({"benchmark": "gpu_run", "method": method, **runs(method, given.particles, given.epochs, 128, "cuda")})


def steps(box: int, batch: int, device: torch.device) -> Iterator[tuple[str, int, Step]]:
    """Name, points or cells times images, and the step: forward and backward, but for the gathers."""
    mesh, grid, table = carried_ellipsoid(box)
    fine, generator = fine_box(grid), torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    moved = (mesh.vertices + drawn(batch, *mesh.vertices.shape)).mT
    rows = random_rotations(batch, generator).float()[:, :2]
    vertices = (rows @ moved * (fine / grid.width) + fine // 2).to(device)
    points = (rows @ (0.15 * grid.width * drawn(3, GAUSSIANS)) * (fine / grid.width) + fine // 2).to(device)
    voxels, gaussians = drawn(table.count).abs().to(device), drawn(GAUSSIANS).abs().to(device)
    images, carried = drawn(batch, fine, fine).to(device), table.to(device)
    yield (
        "mesh_splat",
        batch * table.count,
        backward(lambda p, w: kernels.mesh_splat(p, w, carried, fine), (vertices, voxels), images),
    )
    yield "mesh_gather", batch * table.count, lambda: (kernels.mesh_gather(vertices, images, carried),)
    yield (
        "splat",
        batch * GAUSSIANS,
        backward(lambda p, w: kernels.splat(p, w, fine), (points, gaussians), images),
    )
    yield "gather", batch * GAUSSIANS, lambda: (kernels.gather(points, images),)
    cells = RigidityTable(mesh.vertices, mesh.cells, mesh.weights).to(device)
    strained = moved.contiguous().to(device)
    each = torch.ones(batch, device=device)
    yield "rigidity", batch * cells.count, backward(lambda p: kernels.rigidity(p, cells), (strained,), each)


def backward(function: Callable[..., Tensor], inputs: tuple[Tensor, ...], probe: Tensor) -> Step:
    """The result, and the gradients of its product with the probe."""

    def step() -> tuple[Tensor, ...]:
        leaves = [value.detach().requires_grad_() for value in inputs]
        out = function(*leaves)
        return out.detach(), *torch.autograd.grad(out, leaves, probe)

    return step


def figures(step: Step, work: int, rounds: int, device: torch.device) -> dict[str, object]:
    """Rates and peak memory of both ways, how many times faster Triton is, and by how much they disagree."""
    times, found, peak = {way: [] for way in WAYS}, {}, {}
    for number in range(rounds + 1):
        for way, switch in WAYS.items():
            os.environ[SWITCH] = switch
            if number == 0:
                found[way], peak[way] = with_peak(step, device)
            else:
                times[way].append(seconds(step, device))
    pairs = list(zip(*found.values(), strict=True))
    return {
        **{f"{way}_giga_per_s": 1e-9 * work / median(times[way]) for way in WAYS},
        "times_faster": median(slow / fast for slow, fast in zip(times["torch"], times["triton"], strict=True)),
        "peak_extra_mb": peak,
        "differ": max(float((ours - theirs).abs().max() / theirs.abs().max()) for ours, theirs in pairs),
    }


def seconds(step: Step, device: torch.device) -> float:
    """What a step takes where the next one is given out before it is done, as in training."""
    repeats, elapsed = 1, 0.0
    while elapsed < 0.1:
        repeats *= 2
        wait(device)
        started = time.perf_counter()
        for _ in range(repeats):
            step()
        wait(device)
        elapsed = time.perf_counter() - started
    return elapsed / repeats


def with_peak(step: Step, device: torch.device) -> tuple[tuple[Tensor, ...], float | None]:
    """What a step finds, and the MB of the GPU that it takes above what is there before it."""
    if device.type != "cuda":
        return step(), None
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    return step(), round(1e-6 * (torch.cuda.max_memory_allocated(device) - before), 1)


def wait(device: torch.device) -> None:
    """Until the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def runs(method: str, particles: int, epochs: int, box: int, device: str) -> dict[str, object]:
    """Milliseconds for a particle and an epoch of training, and for a particle of the maps, with either way."""
    told: dict[str, object] = {"particles": particles, "epochs": epochs, "box": box}
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        dynaflex("simulate", data, "--particles", particles, "--box", box, "--pixel-size", WIDTH / box, "--snr", 0.1)
        files = (data / "particles.star", "--map", data / "consensus.mrc", "--mask", data / "mask.mrc")
        for way, switch in WAYS.items():
            os.environ[SWITCH] = switch
            run = Path(scratch) / way
            dynaflex(method, *files, "-o", run, "--epochs", epochs, "--device", device, "--skip-check")
            spent = json.loads((run / "spent.json").read_text())["seconds"]
            told[f"{way}_training_ms"] = 1e3 * spent["training"] / (particles * epochs)
            told[f"{way}_maps_ms"] = 1e3 * spent["reconstruction"] / particles
    return told


if __name__ == "__main__":
    main()
