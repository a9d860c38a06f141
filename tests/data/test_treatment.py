"""The laws of reading images: whatever was done to them, a model sees the CTF times a projection, plus noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from dynaflex import fourier
from dynaflex.checking.check import compare_readings
from dynaflex.data.particles import Particles, read_particles
from dynaflex.data.preprocess import levelled
from dynaflex.errors import UsageError
from dynaflex.grid import Grid
from dynaflex.imaging.ctf import transfer_function
from dynaflex.imaging.resample import straightened
from dynaflex.io.mrc import write_stack
from dynaflex.io.star import StarFile, read_star, write_star
from dynaflex.prepare.images import Imaging, ParticleImages
from dynaflex.shapes import Tensor
from dynaflex.simulation.fourier_sum import image_coefficients
from dynaflex.simulation.particles import simulate

GRID = Grid(48, 4.0)
DIAMETER = 150.0
CPU = torch.device("cpu")
EVERY = torch.arange(60)
MATRICES = [[[1.02, 0.0], [0.0, 0.98]], [[1.007, 0.008], [0.008, 0.994]], [[1.0, 0.015], [-0.01, 1.03]]]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain")
    simulate(out, len(EVERY), GRID.box, GRID.pixel_size, 0.5)
    return out / "particles.star"


def rewritten(plain: Path, out: Path, images: Tensor, **columns: str) -> Particles:
    """The table of ``plain`` with other ``images`` and more ``columns`` of its optics."""
    out.mkdir()
    write_stack(out / "particles.mrcs", images.float().numpy(), GRID.pixel_size)
    star = read_star(plain)
    optics = star.blocks["optics"].assign(**columns)
    write_star(StarFile(out / "particles.star", star.blocks | {"optics": optics}), out / "particles.star")
    return read_particles(out / "particles.star")


def seen(particles: Particles, box: int = 32) -> Tensor:
    """What a model sees of all particles, ``(b h w)``."""
    imaging = Imaging(GRID.cropped(box), DIAMETER, 8.0)
    return ParticleImages(particles, imaging, CPU).batch(EVERY).coefficients


def apart(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().square().sum().sqrt() / expected.abs().square().sum().sqrt())


def filtered(images: Tensor, factor: Tensor) -> Tensor:
    return torch.fft.irfft2(torch.fft.rfft2(images) * factor, s=images.shape[-2:])


@pytest.mark.parametrize("slope", [0.1, 3.0, 100.0])
def test_a_plane_added_to_every_image_changes_nothing(plain: Path, tmp_path: Path, slope: float) -> None:
    even = read_particles(plain)
    images = even.images(EVERY.numpy())
    rise = slope * torch.randn(len(EVERY), 2, 1, 1, generator=torch.Generator().manual_seed(0))
    axis = GRID.axis() / GRID.width
    uneven = rewritten(plain, tmp_path / "uneven", images + rise[:, 0] * axis + rise[:, 1] * axis[:, None] + slope)
    assert apart(seen(uneven), seen(even)) < 1e-5 * max(1.0, slope)


def test_levelling_takes_of_even_ice_only_what_noise_makes_of_a_slope() -> None:
    noise = torch.randn(200, 48, 48, generator=torch.Generator().manual_seed(1))
    taken = (noise - levelled(noise, GRID, DIAMETER)).square().sum((1, 2))
    # Two parameters: two squares of unit noise where it is measured, carried to the whole box.
    assert 1.0 < float(taken.mean()) < 4.0
    constant = torch.full((2, 48, 48), 7.3)
    assert torch.equal(levelled(constant, GRID, DIAMETER), constant)


def test_a_circle_that_leaves_nothing_to_level_by_is_refused() -> None:
    with pytest.raises(UsageError, match="background"):
        levelled(torch.zeros(1, 48, 48), GRID, 300.0)


@pytest.mark.parametrize(
    ("column", "change"),
    [("rlnCtfDataArePhaseFlipped", torch.sign), ("rlnCtfDataAreCtfPremultiplied", torch.clone)],
)
def test_images_that_were_flipped_or_multiplied_are_seen_as_they_were(
    plain: Path, tmp_path: Path, column: str, change: Callable[[Tensor], Tensor]
) -> None:
    """But for the slope that noise has, another one in each, and of multiplied images what lay where the CTF is 0."""
    before = read_particles(plain)
    ctf = transfer_function(before.ctf, GRID)
    images = levelled(before.images(EVERY.numpy()), GRID, DIAMETER)
    after = rewritten(plain, tmp_path / "after", filtered(images, change(ctf)), **{column: "1"})
    expected = seen(before)
    assert apart(seen(after), expected) < 0.1
    kept = seen(after).abs().square().mean() / expected.abs().square().mean()
    assert 0.97 < float(kept) < 1.03
    weighted = transfer_function(before.ctf, GRID.cropped(32))
    assert apart(seen(after) * weighted, expected * weighted) < 0.02


def test_the_check_agrees_with_a_table_that_is_right_about_its_images(plain: Path, tmp_path: Path) -> None:
    before = read_particles(plain)
    images = filtered(before.images(EVERY.numpy()), transfer_function(before.ctf, GRID).sign())
    after = rewritten(plain, tmp_path / "after", images, rlnCtfDataArePhaseFlipped="1")
    consensus = torch.from_numpy(mrcfile.read(plain.parent / "consensus.mrc"))
    comparison = compare_readings(after, consensus, None)
    assert comparison.matches and comparison.better is None
    assert "images phase-flipped" not in {score.name for score in comparison.untold}


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_particle_that_a_lens_stretched_is_seen_as_it_is(
    plain: Path, tmp_path: Path, matrix: list[list[float]]
) -> None:
    """RELION's law: at frequency k a stretched image shows the CTF and the projection at M k, and the shift at k."""
    before = read_particles(plain)
    random = torch.Generator().manual_seed(2)
    points, lens = 30.0 * torch.randn(40, 3, generator=random, dtype=torch.float64), torch.tensor(matrix).double()
    projected = points @ before.pose.rotation[:, :2].transpose(1, 2)
    names = ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11")
    columns = dict(zip(names, (repr(value) for value in lens.flatten().tolist()), strict=True))
    kx, ky = GRID.frequencies(dtype=torch.float64)
    k = torch.stack(torch.broadcast_tensors(kx, ky), dim=-1)
    waves = torch.einsum("hwi,bpi->bhwp", k @ lens.T, projected)
    signal = torch.polar(torch.ones_like(waves), -2.0 * torch.pi * waves).sum(-1) * gaussian(k @ lens.T)
    moved = fourier.shift(signal, GRID, before.pose.shift)
    stretched = rewritten(plain, tmp_path / "lens", fourier.inverse_transform(moved, 2), **columns)
    images = stretched.restored(stretched.images(EVERY.numpy()), EVERY.numpy(), DIAMETER)
    atoms = image_coefficients(projected, torch.ones(40), GRID).to(torch.complex128)
    expected = fourier.shift(atoms * gaussian(k), GRID, stretched.pose.shift)
    plainly = levelled(fourier.inverse_transform(expected, 2).float(), GRID, DIAMETER)
    assert apart(images, plainly * stretched.ctf.scale[:, None, None]) < 0.01
    assert apart(stretched.images(EVERY.numpy()), plainly) > 0.03


def gaussian(k: Tensor) -> Tensor:
    """The transform of an atom, narrow enough in frequency for nothing to lie beyond Nyquist."""
    return torch.exp(-2.0 * (torch.pi * 6.0) ** 2 * k.square().sum(-1))


def test_straightening_keeps_the_power_of_noise_in_every_shell() -> None:
    noise = torch.randn(400, 48, 48, generator=torch.Generator().manual_seed(3))
    for matrix in MATRICES:
        straight = fourier.transform(straightened(noise, GRID, np.array(matrix)), 2)
        power = fourier.shell_mean(straight.abs().square().mean(0), GRID, 2)
        np.testing.assert_allclose(power[2:20] / GRID.box**2, 1.0, atol=0.08)
