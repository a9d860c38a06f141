"""RELION's contrast transfer function, with aberrations, multiplied into the prediction."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from dynaflex.grid import Grid
from dynaflex.shapes import Tensor

_MAY_LACK = ("dose", "beam_tilt", "odd_zernike", "even_zernike")


@dataclass(frozen=True)
class CtfParams:
    """The optics of b images. All tensors are float64 ``(b)`` unless a shape is given.

    ``dose`` is what the specimen had before the image, in electrons per Å². ``beam_tilt`` ``(b 2)`` is in mrad.
    ``odd_zernike`` and ``even_zernike`` ``(b m)`` hold RELION's coefficients in radians, in RELION's order; ``m`` may
    be 0.
    """

    defocus_u: Tensor
    defocus_v: Tensor
    defocus_angle: Tensor
    voltage_kv: Tensor
    cs_mm: Tensor
    amplitude_contrast: Tensor
    phase_shift: Tensor
    b_factor: Tensor
    scale: Tensor
    dose: Tensor
    beam_tilt: Tensor
    odd_zernike: Tensor
    even_zernike: Tensor
    present: frozenset[str] | None = None
    """Of the terms that images may lack, those that some have; None where nobody has looked."""

    @classmethod
    def of(cls, terms: Mapping[str, Tensor]) -> CtfParams:
        """The optics with these ``terms`` by name: all that there are."""
        return cls(**dict[str, Any](terms))

    def __len__(self) -> int:
        return self.defocus_u.shape[0]

    def __getitem__(self, index: Tensor) -> CtfParams:
        return self._each(lambda values: values[index])

    def to(self, device: torch.device) -> CtfParams:
        """The same optics on a device; the precision stays float64."""
        return self._each(lambda values: values.to(device))

    def looked_at(self) -> CtfParams:
        """The same optics, of which is known what some images have: no batch of them has to wait for a device to say
        whether it has any."""
        return replace(self, present=frozenset(name for name in _MAY_LACK if self.has(name)))

    def has(self, name: str) -> bool:
        """True where some image has the term ``name``."""
        return bool(getattr(self, name).any()) if self.present is None else name in self.present

    @property
    def has_odd_aberrations(self) -> bool:
        """True where the transfer function is complex: beam tilt or odd Zernike terms."""
        return self.has("beam_tilt") or self.has("odd_zernike")

    def terms(self) -> dict[str, Tensor]:
        """All that there is of every image, by name; the inverse of :meth:`of`."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "present"}

    def _each(self, change: Callable[[Tensor], Tensor]) -> CtfParams:
        changed: dict[str, Any] = {name: change(values) for name, values in self.terms().items()}
        return replace(self, **changed)


def electron_wavelength(voltage_kv: Tensor) -> Tensor:
    """The relativistic wavelength in Å of electrons accelerated by ``voltage_kv`` kilovolts."""
    volts = voltage_kv * 1e3
    return 12.2643247 / (volts * (1.0 + volts * 0.978466e-6)).sqrt()


def transfer_function(ctf: CtfParams, grid: Grid) -> Tensor:
    """The CTF of every image on the rfft grid, ``(b h w)``: float32, or complex64 where odd aberrations are present.

    ``-sin(gamma) exp(-B k²/4) scale``, positive at low frequency for molecules that are white, times what the dose has
    left of each frequency. Phases are computed in float64: at high defocus they exceed a thousand radians. Odd
    aberrations multiply the prediction by ``exp(i phi)``.
    """
    kx, ky = (k.to(torch.float64) for k in grid.frequencies(ctf.defocus_u.device, torch.float64))
    gamma = _phase(ctf, kx, ky)
    radius2 = kx.square() + ky.square()
    envelope = torch.exp(-0.25 * _column(ctf.b_factor) * radius2) * _column(ctf.scale)
    if ctf.has("dose"):
        envelope = envelope * what_is_left(_column(ctf.dose), radius2.sqrt())
    real = -torch.sin(gamma) * envelope
    if not ctf.has_odd_aberrations:
        return real.to(torch.float32)
    return torch.polar(real.abs(), _odd_phase(ctf, kx, ky) + math.pi * (real < 0)).to(torch.complex64)


def what_is_left(dose: Tensor, frequency: Tensor) -> Tensor:
    """By how much amplitudes at some ``frequency`` in 1/Å are left after a ``dose`` in electrons per Å².

    ``exp(-dose / 2 Nc)`` with the critical exposure ``Nc = 0.245 k^-1.665 + 2.81`` that Grant and Grigorieff (2015)
    measured at 300 kV. RELION weights tilt images by it, at any voltage.
    """
    return torch.exp(-0.5 * dose / (0.245 * frequency.pow(-1.665) + 2.81))


def _column(values: Tensor) -> Tensor:
    return values[:, None, None]


def _phase(ctf: CtfParams, kx: Tensor, ky: Tensor) -> Tensor:
    """The symmetric phase gamma, from the quadratic form of the defocus: no square root, so U < V is safe."""
    wavelength = _column(electron_wavelength(ctf.voltage_kv))
    cos, sin = _column(ctf.defocus_angle.cos()), _column(ctf.defocus_angle.sin())
    u, v = _column(ctf.defocus_u), _column(ctf.defocus_v)
    radius2 = kx.square() + ky.square()
    along, across = cos * kx + sin * ky, cos * ky - sin * kx
    defocus = u * along.square() + v * across.square()
    spherical = 0.5 * math.pi * _column(ctf.cs_mm) * 1e7 * wavelength**3 * radius2.square()
    amplitude = torch.atan(ctf.amplitude_contrast / (1.0 - ctf.amplitude_contrast.square()).sqrt())
    gamma = -math.pi * wavelength * defocus + spherical - _column(ctf.phase_shift + amplitude)
    if ctf.has("even_zernike"):
        gamma = gamma + _zernike_sum(ctf.even_zernike, kx, ky, odd=False)
    return gamma


def _odd_phase(ctf: CtfParams, kx: Tensor, ky: Tensor) -> Tensor:
    """The antisymmetric phase phi of beam tilt and odd Zernike terms."""
    wavelength = _column(electron_wavelength(ctf.voltage_kv))
    tilt = ctf.beam_tilt
    strength = -2.0 * math.pi * _column(ctf.cs_mm) * 1e7 * wavelength.square() * 1e-3
    phi = strength * (_column(tilt[:, 0]) * kx + _column(tilt[:, 1]) * ky) * (kx.square() + ky.square())
    if ctf.has("odd_zernike"):
        phi = phi + _zernike_sum(ctf.odd_zernike, kx, ky, odd=True)
    return phi


def _zernike_sum(coefficients: Tensor, kx: Tensor, ky: Tensor, *, odd: bool) -> Tensor:
    """Sum of RELION's Zernike polynomials, radius in 1/Å, ``(b h w)``."""
    radius, theta = (kx.square() + ky.square()).sqrt(), torch.atan2(ky, kx)
    total = torch.zeros((), dtype=torch.float64, device=kx.device)
    for i in range(coefficients.shape[1]):
        m, n = _odd_index(i) if odd else _even_index(i)
        angular = torch.cos(m * theta) if m >= 0 else torch.sin(-m * theta)
        total = total + _column(coefficients[:, i]) * (_radial(abs(m), n, radius) * angular)
    return total


def _odd_index(i: int) -> tuple[int, int]:
    """(m, n) of RELION's i-th odd Zernike term."""
    k = int((math.sqrt(1 + 4 * i) - 1.0) / 2.0)
    n = 2 * k + 1
    return 2 * (i - k * k - k) - n, n


def _even_index(i: int) -> tuple[int, int]:
    """(m, n) of RELION's i-th even Zernike term."""
    k = int(math.sqrt(i))
    n = 2 * k
    return 2 * (i - k * k - k), n


def _radial(m: int, n: int, radius: Tensor) -> Tensor:
    """The Zernike radial polynomial R_n^m."""
    total = torch.zeros_like(radius)
    for k in range((n - m) // 2 + 1):
        factor = (-1) ** k * math.comb(n - k, k) * math.comb(n - 2 * k, (n - m) // 2 - k)
        total = total + factor * radius ** (n - 2 * k)
    return total
