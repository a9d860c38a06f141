"""Laws of the pretended device: it refuses what a GPU refuses, and computes what the CPU does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.pose import Pose
from dynaflex.latents.table import LatentTable
from dynaflex.mesh.build import lattice
from dynaflex.mesh.segments import LabelledMesh
from dynaflex.methods.flex import where_cut
from dynaflex.methods.flex.build import _flow, cut_model
from dynaflex.methods.flex.config import FlexConfig
from dynaflex.methods.flex.where_cut import Conformations
from dynaflex.methods.flex.whose import RigidBodies, told_apart
from dynaflex.methods.meshed.model import on_mesh
from dynaflex.model import FlexModel
from dynaflex.rotations import random_rotations
from pretended import NAME
from pretended.device import Device, PretendedTensor, pretended

HERE = torch.arange(6.0).view(2, 3)


@pytest.fixture
def device() -> Iterator[Device]:
    with pretended() as entered:
        yield entered


@pytest.fixture
def there(device: Device) -> torch.Tensor:
    return HERE.to(NAME)


def test_what_is_sent_there_is_there_and_comes_back(there: torch.Tensor) -> None:
    assert isinstance(there, PretendedTensor) and there.device == torch.device(NAME, 0)
    assert torch.equal(there.cpu(), HERE) and torch.equal(there.to("cpu"), HERE)
    assert there.tolist() == HERE.tolist() and float(there[1, 2]) == 5.0
    for made in (torch.zeros(2, device=NAME), torch.tensor([1.0], device=NAME), there.new_ones(2), there[:, None]):
        assert isinstance(made, PretendedTensor)


@pytest.mark.parametrize(
    "mixed",
    [
        lambda there: there + HERE,
        lambda there: there @ HERE.T,
        lambda there: torch.cat([there, HERE]),
        lambda there: torch.stack([there[0, 0], torch.zeros(())]),
        lambda there: HERE[torch.zeros(1, dtype=torch.int64).to(NAME)],
        lambda there: HERE.clone().add_(there),
        lambda there: torch.zeros(()).add_(there[0, 0]),
        lambda there: there.index_select(0, torch.zeros(1, dtype=torch.int64)),
        lambda there: there.index_put_((torch.zeros(1, dtype=torch.int64),), HERE[:1]),
        lambda there: torch.randn(2, generator=torch.Generator(), device=NAME),
    ],
)
def test_two_places_do_not_mix(there: torch.Tensor, mixed: Callable[[torch.Tensor], object]) -> None:
    with pytest.raises(RuntimeError, match="device"):
        mixed(there)


@pytest.mark.parametrize(
    "allowed",
    [
        lambda values: values + torch.tensor(2.0),
        lambda values: torch.where(values > 1.0, values, torch.zeros(())),
        lambda values: values[torch.tensor([1, 0])],
        lambda values: values[torch.tensor([True, False])],
        lambda values: values.clone().copy_(HERE + 1.0),
        lambda values: torch.fft.rfft(values).conj() * 1j,
    ],
)
def test_what_a_gpu_allows_gives_what_the_cpu_does(
    there: torch.Tensor, allowed: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    found = allowed(there)
    assert isinstance(found, PretendedTensor) and torch.equal(found.cpu(), allowed(HERE))


def test_numpy_is_refused(there: torch.Tensor) -> None:
    for refused in (there.numpy, there.__array__):
        with pytest.raises(TypeError, match="can't convert"):
            refused()


def test_waits_are_counted(device: Device, there: torch.Tensor) -> None:
    device.waits.clear()
    _ = there + 1.0, there.sum(), there[:, torch.tensor([0], device=NAME)[:0].clone()]
    before = sum(device.waits.values())
    _ = there.sum().item(), there.cpu(), there.nonzero(), bool(there.any()), there[there > 1.0]
    assert sum(device.waits.values()) == before + 5


def test_bodies_that_slide_are_found_and_cut_apart_there(device: Device) -> None:
    """Two bars that swing against each other on a base: what is found and built lies where it is needed."""
    grid = Grid(24, 5.0)
    x, y, z = grid.points().abs().view(24, 24, 24, 3).unbind(dim=3)
    inside = (x <= 30.0) & (y <= 30.0) & (z <= 15.0)
    mesh = lattice(inside, grid, 12)
    here = CanonicalMap(inside.float(), grid, mesh, torch.where(inside, LabelledMesh(mesh).carrier(grid), -1))
    flow = _flow(here, mesh, FlexConfig(), torch.Generator())
    whole = FlexModel(here, flow, LatentTable(9, 2, torch.Generator(), spread=0.0), grid).to(torch.device(NAME, 0))
    moves, density = on_mesh(whole)
    sites, height = density.sites, (density.sites[:, 1:2] + 15.0).clamp(min=0.0)
    swing = height / 10.0 * torch.where(density.sites[:, :1] > 0.0, 1.0, -1.0) * sites.new_tensor([0.0, 0.0, 1.0])

    def moved(latents: torch.Tensor) -> torch.Tensor:
        return sites + latents[:, :, None] * swing

    latents = torch.linspace(-4.0, 4.0, 9)[:, None].to(NAME)
    motion = Conformations.of_all_ranks(sites, moved(latents))
    bodies = where_cut.that_slide(density, motion)
    assert bodies is not None
    rotation = random_rotations(9, torch.Generator().manual_seed(0)).float()
    pose = Pose(rotation, torch.zeros(9, 2)).to(torch.device(NAME, 0))
    field = RigidBodies(density, bodies, sites, moved)
    seen = field.splat(density.values[field.site], latents, pose)
    batch = Batch(torch.arange(9).to(NAME), pose, torch.ones_like(seen), lambda: seen, latents=latents)
    bodies = told_apart(density, bodies, sites, moved, lambda: [batch], torch.ones(grid.n_shells, device=NAME))
    joined = where_cut.joined(moves.mesh, density, bodies, motion)
    cut = cut_model(whole, joined, FlexConfig(), torch.Generator()).to(torch.device(NAME, 0))
    rendered = cut.render(cut.deformed(torch.zeros(9, 2, device=NAME)), pose, None)
    torch.testing.assert_close(rendered.cpu(), whole.render(density.points(), pose, None).cpu(), atol=1e-3, rtol=1e-3)
