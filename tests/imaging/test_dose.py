"""Laws of the dose: what it leaves of an image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from dynaflex.data.particles import read_particles
from dynaflex.imaging.ctf import transfer_function, what_is_left


def test_amplitudes_fall_by_the_critical_exposure() -> None:
    """Published numbers: of the power at 3 Å one part in e is left after 4.3 electrons per Å², at 10 Å after 14."""
    for period, exposure in ((3.0, 4.3), (10.0, 14.1), (20.0, 38.7)):
        left = what_is_left(torch.tensor(exposure), torch.tensor(1.0 / period))
        assert abs(float(left.square().log()) + 1.0) < 0.02
    assert float(what_is_left(torch.tensor(100.0), torch.tensor(0.0))) == 1.0, "of what has no frequency nothing goes"


def test_doses_follow_each_other(few: Path) -> None:
    """What one dose leaves of the CTF, another leaves its part of; none leaves the CTF."""
    particles = read_particles(few / "particles.star")
    ctf = particles.ctf[torch.arange(5)]
    plain = transfer_function(ctf, particles.grid)
    by = [
        transfer_function(replace(ctf, dose=torch.full((5,), dose).double()), particles.grid)
        for dose in (4.0, 9.0, 13.0)
    ]
    seen = plain.abs() > 1e-3
    first, second, both = ((one / plain)[seen] for one in by)
    assert torch.allclose(first * second, both, atol=1e-4)
    assert bool((both < 1.0).float().mean() > 0.99)
