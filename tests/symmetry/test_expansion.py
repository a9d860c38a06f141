"""Laws of symmetry expansion: nothing but the pose differs between copies, and copies are one particle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dynaflex.data.halves import assign_halves
from dynaflex.data.particles import Particles, read_particles
from dynaflex.errors import InputError, UsageError
from dynaflex.imaging.pose import Pose
from dynaflex.io.star import read_star, write_star
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.images import Imaging
from dynaflex.results.table import table_with_halves
from dynaflex.rotations import point_group
from dynaflex.symmetry.expansion import ANGLES, expanded

CPU = torch.device("cpu")


def written(particles: Particles, path: Path, seed: int = 0) -> Particles:
    """The same after its table was written beside the images and read again."""
    write_star(table_with_halves(particles, seed), path)
    return read_particles(path)


def without_halves(data: Path) -> Particles:
    """The same particles, their halves drawn."""
    star = read_star(data / "particles.star")
    star.blocks["particles"] = star.blocks["particles"].drop(columns="rlnRandomSubset")
    write_star(star, data / "undrawn.star")
    return read_particles(data / "undrawn.star", seed=3)


@pytest.fixture
def once(trimers: Path) -> Particles:
    """Before they are expanded."""
    return read_particles(trimers / "particles.star")


def test_a_copy_differs_in_its_pose_alone(once: Particles) -> None:
    many, group = expanded(once, "C3", []), point_group("C3")
    assert len(many) == 3 * len(once) and many.distinct == len(once)
    assert (many.image == np.repeat(np.arange(len(once)), 3)).all()
    for k, turn in enumerate(group):
        copy = many.take(np.arange(k, len(many), 3))
        assert torch.allclose(copy.pose.rotation, once.pose.rotation @ turn)
        assert torch.equal(copy.pose.shift, once.pose.shift)
        assert torch.equal(copy.ctf.defocus_u, once.ctf.defocus_u)
        assert (copy.half == once.half).all() and (copy.rows == 3 * once.rows + k).all()
    first, second = (many.images(np.array([i])) for i in (4, 5))
    assert torch.equal(first, second)


@pytest.mark.parametrize("drawn", [False, True])
def test_no_copy_of_a_particle_lies_in_the_other_half(trimers: Path, drawn: bool) -> None:
    once = without_halves(trimers) if drawn else read_particles(trimers / "particles.star")
    many = expanded(once, "C3", [])
    assert (many.half == many.half[many.originals]).all() and set(many.half) == {1, 2}
    again = written(many, trimers / "again.star", 3)
    assert (again.half == many.half).all()
    if drawn:
        # Drawn from the expanded table they are the same.
        table = many.source.blocks[many.particles_block]
        assert (assign_halves(table, 3, []) == many.half).all()


def test_the_expanded_table_is_read_as_it_was_meant(once: Particles, trimers: Path) -> None:
    many = expanded(once, "C3", [])
    warnings: list[str] = []
    again = expanded(written(many, trimers / "expanded.star"), "C3", warnings)
    assert torch.allclose(again.pose.rotation, many.pose.rotation, atol=1e-6)
    assert (again.image == many.image).all() and len(again) == len(many)
    assert len(warnings) == 1 and "expanded before" in warnings[0]


def test_another_group_than_that_of_the_table_is_refused(once: Particles, trimers: Path) -> None:
    again = written(expanded(once, "C3", []), trimers / "by_three.star")
    with pytest.raises(InputError) as caught:
        expanded(again, "C4", [])
    assert caught.value.identifier == "symmetry.copies"


def test_copies_in_both_halves_are_refused(once: Particles, trimers: Path) -> None:
    star = table_with_halves(expanded(once, "C3", []), 0)
    table = star.blocks["particles"]
    table.loc[7, "rlnRandomSubset"] = str(3 - int(table.loc[7, "rlnRandomSubset"]))
    write_star(star, trimers / "leaking.star")
    with pytest.raises(InputError) as caught:
        expanded(read_particles(trimers / "leaking.star"), "C3", [])
    assert caught.value.identifier == "symmetry.halves" and caught.value.row == 7


def test_c1_is_no_expansion_and_other_names_are_refused(once: Particles) -> None:
    assert expanded(once, "C1", []) is once
    with pytest.raises(UsageError):
        expanded(once, "Q3", [])


def test_what_is_excluded_is_so_in_every_copy(trimers: Path) -> None:
    star = read_star(trimers / "particles.star")
    star.blocks["particles"].loc[5, "rlnAngleRot"] = "nan"
    write_star(star, trimers / "excluded.star")
    many = expanded(read_particles(trimers / "excluded.star"), "C3", [])
    assert [one.row for one in many.excluded] == [15, 16, 17]
    assert len(many) + len(many.excluded) == len(many.source.blocks["particles"])
    assert not set(many.rows) & {15, 16, 17}


def test_the_first_copy_stands_in_the_table_as_it_stood(once: Particles) -> None:
    table = expanded(once, "C3", []).source.blocks["particles"]
    before = once.source.blocks["particles"]
    assert (table.iloc[::3].to_numpy() == before.to_numpy()).all()
    others = [name for name in before if name not in ANGLES]
    assert (table.iloc[1::3][others].to_numpy() == before[others].to_numpy()).all()


def test_images_are_held_once_and_count_once(once: Particles) -> None:
    many = expanded(once, "C3", [])
    imaging = Imaging(many.grid, 120.0, 12.0)
    alone, copies = (HalfSet(particles, 0, imaging, CPU) for particles in (once, many))
    assert copies.images.shape == alone.images.shape
    batch = copies.batch(torch.tensor([9, 10, 30]))
    assert torch.equal(batch.coefficients[0], batch.coefficients[1])
    assert torch.equal(batch.coefficients, alone.batch(torch.tensor([3, 3, 10])).coefficients)
    values = torch.randn(len(once), generator=torch.Generator().manual_seed(0))
    everyone = torch.arange(len(many))
    assert torch.allclose(copies.per_particle(values.repeat_interleave(3), everyone), values)
    assert copies.per_particle(everyone[:1].float(), everyone[:1]).tolist() == [0.0]


def test_a_batch_reads_an_image_of_several_copies_once(once: Particles, monkeypatch: pytest.MonkeyPatch) -> None:
    from dynaflex.prepare.images import ParticleImages

    many = expanded(once, "C3", [])
    read: list[int] = []
    real = Imaging.normalise

    def counting(self: Imaging, particles: Particles, index: torch.Tensor) -> torch.Tensor:
        read.extend(index.tolist())
        return real(self, particles, index)

    monkeypatch.setattr(Imaging, "normalise", counting)
    images = ParticleImages(many, Imaging(many.grid, 120.0, 12.0), CPU)
    found = images.normalised(torch.tensor([5, 3, 0, 4]))
    assert len(read) == 2 and torch.equal(found[0], found[1]) and torch.equal(found[0], found[3])
    assert isinstance(images.pose, Pose)


def test_particles_of_cryosparc_are_expanded_there(once: Particles) -> None:
    theirs = replace(once, source=replace(once.source, path=Path("particles.cs")))
    with pytest.raises(InputError) as caught:
        expanded(theirs, "C3", [])
    assert caught.value.identifier == "symmetry.cryosparc"
    copies = replace(expanded(once, "C3", []), source=theirs.source)
    assert expanded(copies, "C3", []) is copies
