"""RELION's own programs agree with our Euler angles, shifts and CTF.

``relion_project`` makes images that an exact sum must predict; ``relion_reconstruct`` reads images that we made.
Both come with the Debian package ``relion``. Without it these tests are skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import starfile
import torch

from dynaflex.fourier import inverse_transform
from dynaflex.grid import Grid
from dynaflex.imaging.ctf import CtfParams, transfer_function
from dynaflex.imaging.pose import Pose
from dynaflex.rotations import euler_to_matrix
from dynaflex.shapes import Tensor
from dynaflex.validate.fsc import fourier_shell_correlation

GRID = Grid(64, 3.54)
STACKS = Path(__file__).parents[3] / "shared" / "data" / "stacks"


def test_relion_project_makes_the_images_that_the_convention_predicts(
    relion_projections: Any, exact: Callable[..., Tensor], correlation: Callable[..., Tensor]
) -> None:
    p = relion_projections
    assert (p.ctf.defocus_u < p.ctf.defocus_v).any()
    expected = exact(p.volume, GRID, p.pose, p.ctf)
    per_image = correlation(p.images, expected)
    assert per_image.min() > 0.999, f"worst image correlates {per_image.min():.5f}"
    scale = (p.images * expected).sum() / expected.square().sum()
    assert scale == pytest.approx(1.0, abs=0.01)


def test_the_comparison_would_notice_a_flipped_shift_and_a_transposed_rotation(
    relion_projections: Any, exact: Callable[..., Tensor], correlation: Callable[..., Tensor]
) -> None:
    p = relion_projections
    flipped = exact(p.volume, GRID, Pose(p.pose.rotation, -p.pose.shift), p.ctf)
    transposed = exact(p.volume, GRID, Pose(p.pose.rotation.mT, p.pose.shift), p.ctf)
    assert correlation(p.images, flipped).mean() < 0.9
    assert correlation(p.images, transposed).mean() < 0.9


def odd_terms(**values: float) -> Tensor:
    """Six odd Zernike coefficients, scaled so that a value is about the phase at the Nyquist frequency."""
    k = GRID.nyquist
    return _terms(values, {"i0": 1 / k, "i1": 1 / k, "i2": k**-3, "i3": 0.5 / k, "i4": 0.5 / k, "i5": k**-3})


def even_terms(**values: float) -> Tensor:
    """Nine even Zernike coefficients, scaled so that a value is about the phase at the Nyquist frequency."""
    k = GRID.nyquist
    order2 = {"i0": 1.0, "i1": k**-2, "i2": 0.5 * k**-2, "i3": k**-2}
    order4 = {"i4": k**-4, "i5": k**-2 / 3, "i6": k**-2 / 6, "i7": k**-2 / 3, "i8": k**-4}
    return _terms(values, order2 | order4)


def _terms(values: dict[str, float], scales: dict[str, float]) -> Tensor:
    row = [values.get(name, 0.0) * scale for name, scale in scales.items()]
    return torch.tensor([row], dtype=torch.float64).expand(60, -1)


@pytest.fixture(scope="module")
def agreement(
    scene: Any, slices: Callable[..., Tensor], reconstruct_with_relion: Callable[..., Tensor]
) -> Callable[[CtfParams, CtfParams], Tensor]:
    """How well RELION, told of some optics, recovers the molecule from images made by us with others: an FSC."""
    volume, pose, euler, origin, _ = scene
    transforms = slices(volume, GRID, pose)

    def fsc(applied: CtfParams, told: CtfParams) -> Tensor:
        images = inverse_transform(transforms * transfer_function(applied, GRID), 2)
        return fourier_shell_correlation(reconstruct_with_relion(images, GRID, euler, origin, told), volume)[1:28]

    return fsc


@pytest.fixture(scope="module")
def plain(scene: Any) -> CtfParams:
    """Astigmatic optics without aberrations or envelope."""
    ctf: CtfParams = scene[-1]
    return replace(ctf, b_factor=torch.zeros_like(ctf.scale), scale=torch.ones_like(ctf.scale))


@pytest.fixture(scope="module")
def unaberrated(agreement: Callable[..., Tensor], plain: CtfParams) -> Tensor:
    """The best RELION can do with these poses."""
    return agreement(plain, plain)


@pytest.mark.parametrize(
    "aberration",
    [
        {"beam_tilt": torch.tensor([[12.0, -7.0]], dtype=torch.float64).expand(60, 2)},
        {"odd_zernike": odd_terms(i0=1.5, i1=-1.0, i2=2.0, i3=1.0, i4=1.0, i5=-1.5)},
        {"even_zernike": even_terms(i0=0.3, i1=1.0, i2=0.5, i3=-1.0, i4=1.5, i5=0.5, i6=0.3, i7=-1.5, i8=-1.5)},
    ],
    ids=["beam_tilt", "odd_zernike", "even_zernike"],
)
def test_relion_reconstruct_undoes_the_aberrations_that_we_apply(
    agreement: Callable[..., Tensor], plain: CtfParams, unaberrated: Tensor, aberration: dict[str, Tensor]
) -> None:
    aberrated = replace(plain, **aberration)
    negated = replace(plain, **{name: -values for name, values in aberration.items()})
    assert (agreement(aberrated, aberrated) - unaberrated).abs().max() < 0.02
    assert agreement(aberrated, negated).min() < unaberrated.min() - 0.2


def test_published_projections_of_one_point(exact: Callable[..., Tensor], correlation: Callable[..., Tensor]) -> None:
    """A published stack of ``relion_project`` shows one voxel, at x = +17: so does ours, image by image.

    The images hold RELION's interpolation ghosts too, so the correlation stays below 1.
    """
    if not (STACKS / "relion_proj_batch.star").exists():
        pytest.skip(f"no test data at {STACKS}")
    tables = starfile.read(STACKS / "relion_proj_batch.star", always_dict=True)
    optics, table = tables["optics"].iloc[0], tables["particles"]
    n = len(table)

    def columns(*names: str) -> Tensor:
        return torch.from_numpy(table[list(names)].to_numpy(np.float64).copy())

    def constant(name: str) -> Tensor:
        return torch.full((n,), float(optics[name]), dtype=torch.float64)

    defocus_u, defocus_v, angle = columns("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle").unbind(1)
    phase_shift, b_factor, scale = columns("rlnPhaseShift", "rlnCtfBfactor", "rlnCtfScalefactor").unbind(1)
    ctf = CtfParams(
        defocus_u=defocus_u,
        defocus_v=defocus_v,
        defocus_angle=angle.deg2rad(),
        voltage_kv=constant("rlnVoltage"),
        cs_mm=constant("rlnSphericalAberration"),
        amplitude_contrast=constant("rlnAmplitudeContrast"),
        phase_shift=phase_shift.deg2rad(),
        b_factor=b_factor,
        scale=scale,
        dose=torch.zeros_like(scale),
        beam_tilt=torch.zeros(n, 2, dtype=torch.float64),
        odd_zernike=torch.zeros(n, 0, dtype=torch.float64),
        even_zernike=torch.zeros(n, 0, dtype=torch.float64),
    )
    euler = columns("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi").deg2rad()
    pose = Pose(euler_to_matrix(euler), -columns("rlnOriginXAngst", "rlnOriginYAngst"))
    volume = torch.zeros(64, 64, 64, dtype=torch.float64)
    volume[32, 32, 32 + 17] = 1.0
    images = torch.from_numpy(mrcfile.read(STACKS / "relion_proj_batch.mrcs").astype(np.float64))
    assert correlation(images, exact(volume, GRID, pose, ctf)).min() > 0.98
