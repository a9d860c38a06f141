"""Images written by RELION's own programs from a map of ours, and what an exact calculation says they should be."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
import starfile
import torch

from dynaflex.fourier import inverse_transform
from dynaflex.grid import Grid
from dynaflex.imaging.ctf import CtfParams, transfer_function
from dynaflex.imaging.pose import Pose
from dynaflex.rotations import euler_to_matrix
from dynaflex.shapes import Tensor

GRID = Grid(64, 3.54)
PARTICLES = 30
# The molecule ends well inside the box, so that RELION's interpolation in Fourier space stays accurate.
RADIUS = 18


@dataclass(frozen=True)
class Projections:
    """A map ``[z, y, x]``, the poses and optics of p particles, and the images ``(p h h)`` that RELION made of it."""

    directory: Path
    star: Path
    volume: Tensor
    pose: Pose
    ctf: CtfParams
    images: Tensor


def smooth_blob(grid: Grid, generator: torch.Generator) -> Tensor:
    """A random asymmetric molecule of smooth positive density, zero outside ``RADIUS`` voxels."""
    axis = torch.arange(grid.box, dtype=torch.float64) - grid.center
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    volume = torch.zeros_like(x)
    for center in torch.randn(80, 3, generator=generator, dtype=torch.float64) * RADIUS / 3:
        volume += torch.exp(-((x - center[0]).square() + (y - center[1]).square() + (z - center[2]).square()) / 4.0)
    radius = (x.square() + y.square() + z.square()).sqrt()
    edge = ((RADIUS - radius) / 4.0).clamp(0.0, 1.0)
    return volume * (0.5 - 0.5 * torch.cos(torch.pi * edge))


def random_optics(n: int, generator: torch.Generator) -> CtfParams:
    """Strongly astigmatic optics, half of them with defocus U < V."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)

    return CtfParams(
        defocus_u=uniform(8000.0, 22000.0),
        defocus_v=uniform(8000.0, 22000.0),
        defocus_angle=uniform(0.0, math.pi),
        voltage_kv=torch.full((n,), 300.0, dtype=torch.float64),
        cs_mm=torch.full((n,), 2.7, dtype=torch.float64),
        amplitude_contrast=torch.full((n,), 0.1, dtype=torch.float64),
        phase_shift=uniform(0.0, 0.5),
        b_factor=uniform(0.0, 80.0),
        scale=uniform(0.7, 1.3),
        dose=torch.zeros(n, dtype=torch.float64),
        beam_tilt=torch.zeros(n, 2, dtype=torch.float64),
        odd_zernike=torch.zeros(n, 0, dtype=torch.float64),
        even_zernike=torch.zeros(n, 0, dtype=torch.float64),
    )


def write_star(path: Path, grid: Grid, euler: Tensor, origin: Tensor, ctf: CtfParams) -> None:
    """A RELION 3.1 particle table, one optics group; ``euler`` in radians and ``origin`` in Å."""
    optics: dict[str, object] = {
        "rlnOpticsGroup": [1],
        "rlnOpticsGroupName": ["opticsGroup1"],
        "rlnVoltage": [float(ctf.voltage_kv[0])],
        "rlnSphericalAberration": [float(ctf.cs_mm[0])],
        "rlnAmplitudeContrast": [float(ctf.amplitude_contrast[0])],
        "rlnImagePixelSize": [grid.pixel_size],
        "rlnMicrographOriginalPixelSize": [grid.pixel_size],
        "rlnImageSize": [grid.box],
        "rlnImageDimensionality": [2],
    }
    if ctf.beam_tilt.any():
        optics["rlnBeamTiltX"], optics["rlnBeamTiltY"] = [float(ctf.beam_tilt[0, 0])], [float(ctf.beam_tilt[0, 1])]
    for name, values in (("rlnOddZernike", ctf.odd_zernike), ("rlnEvenZernike", ctf.even_zernike)):
        if values.shape[1]:
            optics[name] = ["[" + ",".join(f"{value:.6f}" for value in values[0].tolist()) + "]"]
    degrees = torch.rad2deg(euler)
    particles = pd.DataFrame(
        {
            "rlnImageName": [f"{i + 1:06d}@particles.mrcs" for i in range(len(euler))],
            "rlnMicrographName": "micrograph.mrc",
            "rlnOpticsGroup": 1,
            "rlnAngleRot": degrees[:, 0],
            "rlnAngleTilt": degrees[:, 1],
            "rlnAnglePsi": degrees[:, 2],
            "rlnOriginXAngst": origin[:, 0],
            "rlnOriginYAngst": origin[:, 1],
            "rlnDefocusU": ctf.defocus_u,
            "rlnDefocusV": ctf.defocus_v,
            "rlnDefocusAngle": torch.rad2deg(ctf.defocus_angle),
            "rlnPhaseShift": torch.rad2deg(ctf.phase_shift),
            "rlnCtfBfactor": ctf.b_factor,
            "rlnCtfScalefactor": ctf.scale,
        }
    )
    starfile.write({"optics": pd.DataFrame(optics), "particles": particles}, path)


def exact_slices(volume: Tensor, grid: Grid, pose: Pose) -> Tensor:
    """Transforms ``(p h w)`` of the projections that the convention demands, below Nyquist: voxels are point masses.

    ``sum_x V(x) exp(-2 pi i k . (A x + shift))``, a float64 sum over the voxels, separable in x, y and z.
    """
    occupied = volume.nonzero()
    low, high = int(occupied.min()), int(occupied.max()) + 1
    axis = grid.axis(dtype=torch.float64)[low:high]
    density = volume[low:high, low:high, low:high].to(torch.complex128)
    kx, ky = grid.frequencies(dtype=torch.float64)
    inside = (kx.square() + ky.square()).sqrt() < grid.nyquist
    k = torch.stack([kx.expand(inside.shape)[inside], ky.expand(inside.shape)[inside]], dim=-1)
    slices = torch.zeros(len(pose), *inside.shape, dtype=torch.complex128)
    for i, (rotation, move) in enumerate(zip(pose.rotation, pose.shift, strict=True)):
        frequency = k @ rotation[:2]
        phases = torch.exp(-2j * torch.pi * frequency[:, :, None] * axis)
        along_x = (density.reshape(-1, len(axis)) @ phases[:, 0].T).view(len(axis), len(axis), -1)
        along_y = torch.einsum("zym,my->zm", along_x, phases[:, 1])
        slices[i, inside] = torch.einsum("zm,mz->m", along_y, phases[:, 2]) * torch.exp(-2j * torch.pi * (k @ move))
    return slices


@pytest.fixture(scope="session")
def slices() -> Callable[[Tensor, Grid, Pose], Tensor]:
    """:func:`exact_slices`, for the tests of this folder."""
    return exact_slices


@pytest.fixture(scope="session")
def exact() -> Callable[[Tensor, Grid, Pose, CtfParams], Tensor]:
    """A function from (volume, grid, pose, optics) to the images ``(p h h)``: exact slices times our CTF."""

    def images(volume: Tensor, grid: Grid, pose: Pose, ctf: CtfParams) -> Tensor:
        return inverse_transform(exact_slices(volume, grid, pose) * transfer_function(ctf, grid), 2)

    return images


def image_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation of every image ``(p h h)`` with its counterpart, ``(p)``."""
    first = first - first.mean(dim=(1, 2), keepdim=True)
    second = second - second.mean(dim=(1, 2), keepdim=True)
    return (first * second).sum(dim=(1, 2)) / (first.norm(dim=(1, 2)) * second.norm(dim=(1, 2)))


@pytest.fixture(scope="session")
def correlation() -> Callable[[Tensor, Tensor], Tensor]:
    """:func:`image_correlation`, for the tests of this folder."""
    return image_correlation


def run_program(program: str, *arguments: str, directory: Path) -> None:
    """Run one of RELION's programs in ``directory``; skip the test where it is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (Debian package: relion)")
    done = subprocess.run([program, *arguments], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{program} failed:\n{done.stdout}\n{done.stderr}"


def random_pose(n: int, generator: torch.Generator) -> tuple[Pose, Tensor, Tensor]:
    """Random poses in float64, with the Euler angles (radians) and origins (Å) that a table gives for them."""
    uniform = torch.rand(n, 3, generator=generator, dtype=torch.float64)
    euler = torch.stack([2 * uniform[:, 0] - 1, (2 * uniform[:, 1] - 1).acos() / torch.pi, 2 * uniform[:, 2] - 1], 1)
    euler = euler * torch.pi
    origin = 10.0 * (torch.rand(n, 2, generator=generator, dtype=torch.float64) - 0.5)
    return Pose(euler_to_matrix(euler), -origin), euler, origin


@pytest.fixture(scope="session")
def run_relion() -> Callable[..., None]:
    """:func:`run_program`, for tests."""
    return run_program


@pytest.fixture(scope="session")
def relion_projections(tmp_path_factory: pytest.TempPathFactory) -> Projections:
    """Images that ``relion_project`` wrote of a molecule in random poses, with shifts and astigmatic CTFs."""
    directory = tmp_path_factory.mktemp("relion_project")
    generator = torch.Generator().manual_seed(20)
    volume = smooth_blob(GRID, generator)
    ctf = random_optics(PARTICLES, generator)
    pose, euler, origin = random_pose(PARTICLES, generator)
    with mrcfile.new(directory / "map.mrc", volume.numpy().astype(np.float32)) as file:
        file.voxel_size = GRID.pixel_size
    write_star(directory / "particles.star", GRID, euler, origin, ctf)
    run_program(
        "relion_project",
        *("--i", "map.mrc", "--ang", "particles.star", "--o", "proj", "--ctf", "--angpix", str(GRID.pixel_size)),
        directory=directory,
    )
    images = torch.from_numpy(mrcfile.read(directory / "proj.mrcs").astype(np.float64))
    return Projections(directory, directory / "proj.star", volume, pose, ctf, images)


@pytest.fixture(scope="session")
def reconstruct_with_relion(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Tensor]:
    """A function from (images, grid, euler, origin, optics) to the map ``relion_reconstruct`` makes of them."""

    def reconstruct(
        images: Tensor, grid: Grid, euler: Tensor, origin: Tensor, ctf: CtfParams, *, gridding: bool = False
    ) -> Tensor:
        directory = tmp_path_factory.mktemp("relion_reconstruct")
        with mrcfile.new(directory / "particles.mrcs", images.numpy().astype(np.float32)) as file:
            file.set_image_stack()
            file.voxel_size = grid.pixel_size
        write_star(directory / "particles.star", grid, euler, origin, ctf)
        run_program(
            "relion_reconstruct",
            *("--i", "particles.star", "--o", "map.mrc", "--ctf"),
            *(() if gridding else ("--skip_gridding",)),
            directory=directory,
        )
        return torch.from_numpy(mrcfile.read(directory / "map.mrc").astype(np.float64))

    return reconstruct


@pytest.fixture(scope="session")
def many_views() -> tuple[Tensor, Grid, Pose, Tensor, Tensor, CtfParams]:
    """A molecule in a small box, and enough poses to reconstruct it from."""
    grid, generator = Grid(48, 3.54), torch.Generator().manual_seed(29)
    pose, euler, origin = random_pose(600, generator)
    return smooth_blob(grid, generator), grid, pose, euler, origin, random_optics(600, generator)


@pytest.fixture(scope="session")
def scene() -> tuple[Tensor, Pose, Tensor, Tensor, CtfParams]:
    """A molecule, sixty poses with their Euler angles and origins, and plain optics for them."""
    generator = torch.Generator().manual_seed(23)
    pose, euler, origin = random_pose(60, generator)
    return smooth_blob(GRID, generator), pose, euler, origin, random_optics(60, generator)
