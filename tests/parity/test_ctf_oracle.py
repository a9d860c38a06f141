"""The CTF against torch-ctf, and against RELION's formula evaluated term by term in numpy's float64.

torch-ctf has RELION's sign and angle, needs U >= V, works in float32, and counts beam tilt with the opposite sign.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dynaflex.grid import Grid
from dynaflex.imaging.ctf import CtfParams, electron_wavelength, transfer_function
from dynaflex.shapes import Array, Tensor

GRID = Grid(64, 1.5)
IMAGES = 6
# Interior of the spectrum: at Nyquist the sign of a frequency is a matter of taste.
INSIDE = (slice(None), [*range(32), *range(33, 64)], slice(0, 32))


def random_optics(seed: int, n: int = IMAGES) -> CtfParams:
    """Optics without aberrations, defocus U > V by up to 1 µm."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)

    defocus_v = uniform(5000.0, 25000.0)
    return CtfParams(
        defocus_u=defocus_v + uniform(500.0, 10000.0),
        defocus_v=defocus_v,
        defocus_angle=uniform(-math.pi, math.pi),
        voltage_kv=torch.tensor([120.0, 200.0, 300.0], dtype=torch.float64).repeat(n)[:n],
        cs_mm=uniform(0.01, 2.7),
        amplitude_contrast=uniform(0.05, 0.15),
        phase_shift=uniform(0.0, 2.0),
        b_factor=torch.zeros(n, dtype=torch.float64),
        scale=torch.ones(n, dtype=torch.float64),
        dose=torch.zeros(n, dtype=torch.float64),
        beam_tilt=torch.zeros(n, 2, dtype=torch.float64),
        odd_zernike=torch.zeros(n, 0, dtype=torch.float64),
        even_zernike=torch.zeros(n, 0, dtype=torch.float64),
    )


def with_torch_ctf(ctf: CtfParams, beam_tilt: Tensor | None = None, *, complex_ctf: bool = False) -> Tensor:
    """torch-ctf's answer ``(b h w)``, image by image because its aberrations do not batch."""
    torch_ctf = pytest.importorskip("torch_ctf")
    return torch.stack(
        [
            torch_ctf.calculate_ctf_2d(
                defocus=(ctf.defocus_u[i] + ctf.defocus_v[i]) / 2e4,
                astigmatism=(ctf.defocus_u[i] - ctf.defocus_v[i]) / 2e4,
                astigmatism_angle=ctf.defocus_angle[i].rad2deg(),
                voltage=ctf.voltage_kv[i],
                spherical_aberration=ctf.cs_mm[i],
                amplitude_contrast=ctf.amplitude_contrast[i],
                phase_shift=ctf.phase_shift[i].rad2deg(),
                pixel_size=GRID.pixel_size,
                image_shape=(GRID.box, GRID.box),
                rfft=True,
                fftshift=False,
                beam_tilt_mrad=None if beam_tilt is None else beam_tilt[i],
                return_complex_ctf=complex_ctf,
            ).squeeze()
            for i in range(len(ctf))
        ]
    )


@pytest.mark.parametrize("seed", range(4))
def test_astigmatic_ctf_equals_torch_ctf(seed: int) -> None:
    ctf = random_optics(seed)
    assert (transfer_function(ctf, GRID) - with_torch_ctf(ctf)).abs().max() < 3e-3


def test_beam_tilt_has_relions_sign_which_is_the_opposite_of_torch_ctfs() -> None:
    tilt = torch.tensor([[0.9, -0.4]], dtype=torch.float64).expand(IMAGES, 2)
    ctf = random_optics(9)
    ours = transfer_function(replace(ctf, beam_tilt=tilt), GRID)
    assert ours.is_complex()
    assert (ours - with_torch_ctf(ctf, -tilt))[INSIDE].abs().max() < 5e-3
    assert (ours - with_torch_ctf(ctf, tilt))[INSIDE].abs().max() > 0.5


def relion_formula(ctf: CtfParams, i: int, symmetric: Array | float = 0.0) -> Array:
    """``-sin(K1 k'Ak + K2 k^4 - K5 - K3 + symmetric) exp(K4 k²) scale`` of image i, with A = -Q' diag(U, V) Q."""
    kx, ky = np.fft.rfftfreq(GRID.box, GRID.pixel_size)[None, :], np.fft.fftfreq(GRID.box, GRID.pixel_size)[:, None]
    kilovolts, cs, contrast = float(ctf.voltage_kv[i]), float(ctf.cs_mm[i]) * 1e7, float(ctf.amplitude_contrast[i])
    wavelength = 12.2643247 / np.sqrt(kilovolts * 1e3 * (1.0 + kilovolts * 1e3 * 0.978466e-6))
    angle = float(ctf.defocus_angle[i])
    q = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    a = -q.T @ np.diag([float(ctf.defocus_u[i]), float(ctf.defocus_v[i])]) @ q
    k2 = kx**2 + ky**2
    gamma = np.pi * wavelength * (a[0, 0] * kx**2 + 2 * a[0, 1] * kx * ky + a[1, 1] * ky**2)
    gamma = gamma + np.pi / 2 * cs * wavelength**3 * k2**2
    gamma = gamma - float(ctf.phase_shift[i]) - np.arctan(contrast / np.sqrt(1 - contrast**2)) + symmetric
    value: Array = -np.sin(gamma) * np.exp(-float(ctf.b_factor[i]) / 4 * k2) * float(ctf.scale[i])
    return value


@pytest.mark.parametrize("swap", [False, True], ids=["U>V", "U<V"])
def test_ctf_equals_relions_formula_with_envelope_and_scale(swap: bool) -> None:
    ctf = random_optics(11)
    if swap:
        ctf = replace(ctf, defocus_u=ctf.defocus_v, defocus_v=ctf.defocus_u)
    b_factor, scale = torch.linspace(0.0, 120.0, IMAGES), torch.linspace(0.5, 1.5, IMAGES)
    ctf = replace(ctf, b_factor=b_factor.double(), scale=scale.double())
    expected = np.stack([relion_formula(ctf, i) for i in range(IMAGES)])
    assert np.abs(transfer_function(ctf, GRID).numpy() - expected).max() < 1e-6


def test_relion_numbers() -> None:
    """Worked by hand for 300 kV, Cs 2.7 mm, 10 % contrast, 1 µm, at 0, 1/96 and 8/96 per Å along x."""
    ctf = random_optics(0, n=1)
    values = {
        "defocus_u": 10000.0,
        "defocus_v": 10000.0,
        "voltage_kv": 300.0,
        "cs_mm": 2.7,
        "amplitude_contrast": 0.1,
        "phase_shift": 0.0,
    }
    ctf = replace(ctf, **{name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()})
    assert float(electron_wavelength(ctf.voltage_kv)) == pytest.approx(0.0196875, abs=1e-6)
    at_zero, at_one, at_eight = transfer_function(ctf, GRID)[0, 0, [0, 1, 8]].tolist()
    assert at_zero == pytest.approx(0.1, abs=1e-6)
    assert at_one == pytest.approx(math.sin(0.1001674 + 0.0671113 - 0.0000038), abs=1e-5)
    assert at_eight == pytest.approx(math.sin(0.1001674 + 4.2951215 - 0.0156075), abs=1e-4)


def test_swapping_the_axes_of_astigmatism_and_turning_it_a_right_angle_changes_nothing() -> None:
    ctf = random_optics(12)
    turned = replace(
        ctf, defocus_u=ctf.defocus_v, defocus_v=ctf.defocus_u, defocus_angle=ctf.defocus_angle + math.pi / 2
    )
    assert torch.allclose(transfer_function(ctf, GRID), transfer_function(turned, GRID), atol=1e-6)


def test_defocus_u_lies_along_the_angle_from_x_towards_y() -> None:
    """Along its own axis the phase is that of a round CTF with defocus U."""
    ctf = random_optics(13)
    for angle, column in ((0.0, (slice(None), 0, slice(None))), (math.pi / 2, (slice(None), slice(0, 33), 0))):
        along_u = replace(ctf, defocus_angle=torch.full_like(ctf.defocus_angle, angle))
        round_u = replace(ctf, defocus_v=ctf.defocus_u)
        assert torch.allclose(
            transfer_function(along_u, GRID)[column], transfer_function(round_u, GRID)[column], atol=1e-6
        )


def polar_frequencies() -> tuple[Array, Array]:
    """Radius in 1/Å and angle from x towards y of every rfft coefficient."""
    kx, ky = np.fft.rfftfreq(GRID.box, GRID.pixel_size)[None, :], np.fft.fftfreq(GRID.box, GRID.pixel_size)[:, None]
    return np.hypot(kx, ky), np.arctan2(ky + 0 * kx, kx + 0 * ky)


def test_even_zernike_terms_add_relions_polynomials_to_the_phase() -> None:
    """RELION's order: (m, n) = (0,0) (-2,2) (0,2) (2,2) (-4,4) (-2,4) (0,4) (2,4) (4,4)."""
    r, t = polar_frequencies()
    second = [r**2 * np.sin(2 * t), 2 * r**2 - 1, r**2 * np.cos(2 * t)]
    steep = 4 * r**4 - 3 * r**2
    fourth = [r**4 * np.sin(4 * t), steep * np.sin(2 * t), 6 * r**4 - 6 * r**2 + 1, steep * np.cos(2 * t)]
    polynomials = [np.ones_like(r), *second, *fourth, r**4 * np.cos(4 * t)]
    coefficients = np.array([0.3, -4.0, 5.0, 3.0, 40.0, -6.0, 4.0, 7.0, -50.0])
    ctf = random_optics(14, n=1)
    aberrated = replace(ctf, even_zernike=torch.from_numpy(coefficients)[None])
    phase = sum(c * p for c, p in zip(coefficients, polynomials, strict=True))
    assert np.abs(transfer_function(aberrated, GRID)[0].numpy() - relion_formula(ctf, 0, phase)).max() < 1e-6


def test_odd_zernike_terms_and_beam_tilt_turn_the_complex_phase() -> None:
    """RELION's order: (m, n) = (-1,1) (1,1) (-3,3) (-1,3) (1,3) (3,3); tilt is r^3 = (Z31 + 2 Z11) / 3."""
    r, t = polar_frequencies()
    coma = 3 * r**3 - 2 * r
    polynomials = [
        r * np.sin(t),
        r * np.cos(t),
        r**3 * np.sin(3 * t),
        coma * np.sin(t),
        coma * np.cos(t),
        r**3 * np.cos(3 * t),
    ]
    coefficients = np.array([1.5, -2.0, 20.0, 0.7, -0.9, 15.0])
    ctf = random_optics(15, n=1)
    aberrated = transfer_function(replace(ctf, odd_zernike=torch.from_numpy(coefficients)[None]), GRID)[0].numpy()
    phase = sum(c * p for c, p in zip(coefficients, polynomials, strict=True))
    assert np.abs(aberrated - relion_formula(ctf, 0) * np.exp(1j * phase)).max() < 1e-6

    tilt = torch.tensor([[0.8, -1.1]], dtype=torch.float64)
    wavelength = float(electron_wavelength(ctf.voltage_kv))
    strength = -2e4 * math.pi * float(ctf.cs_mm) * wavelength**2
    x, y = (strength * tilt[0] / 3).tolist()
    as_zernike = torch.tensor([[2 * y, 2 * x, 0.0, y, x, 0.0]], dtype=torch.float64)
    tilted = transfer_function(replace(ctf, beam_tilt=tilt), GRID)
    assert torch.allclose(tilted, transfer_function(replace(ctf, odd_zernike=as_zernike), GRID), atol=1e-6)
