"""Splats of the Triton kernels, of points and of a mesh: what plain torch makes of them in double precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy.spatial import Delaunay

from dynaflex.kernels import MeshTable, reference
from dynaflex.shapes import Tensor
from triton_kernels import DEVICE, mesh, splat, trial


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def irregular() -> tuple[Tensor, MeshTable]:
    """Vertices of a mesh with tiny and long cells, some of them without a point, and the points that it carries."""
    vertices = torch.cat([torch.cartesian_prod(*[torch.tensor([-9.0, 9.0])] * 3), 5.0 * drawn(12, 3, seed=1)])
    found = Delaunay(vertices.numpy())
    points = torch.cartesian_prod(*[torch.arange(-4.0, 5.0)] * 3) * 1.7 + 0.3
    cell = torch.from_numpy(found.find_simplex(points.numpy())).long()
    assert len(cell.unique()) < len(found.simplices)
    return vertices, MeshTable(vertices, torch.from_numpy(found.simplices).long(), points, cell, 1.7)


VERTICES, TABLE = irregular()
PACKED = [array.to(DEVICE) for array in TABLE.packed]


def projected(batch: int, box: int) -> Tensor:
    """Vertices ``(b 2 v)`` in pixels, not at rest."""
    turned = torch.linalg.qr(drawn(batch, 3, 3, seed=2))[0][:, :2] @ VERTICES.T
    return turned + 0.3 * drawn(batch, 2, len(VERTICES), seed=3) + box // 2


def truth(function: Callable[..., Tensor], inputs: tuple[Tensor, ...], probe: Tensor) -> list[Tensor]:
    """The result of plain torch, and the gradients of its product with the probe, in double precision."""
    given = [value.double().requires_grad_() for value in inputs]
    out = function(*given)
    return [out.detach(), *torch.autograd.grad(out, given, probe.double())]


def of_points(positions: Tensor, weights: Tensor, probe: Tensor) -> list[Tensor]:
    """Images, and both gradients of their product with the probe, by the kernels."""
    p, w, images = (value.to(DEVICE) for value in (positions, weights, probe))
    return [value.cpu() for value in (splat.splat(p, w, probe.shape[-1]), *splat.splat_backward(p, w, images))]


def of_mesh(positions: Tensor, weights: Tensor, probe: Tensor, table: MeshTable = TABLE) -> list[Tensor]:
    """The same of the points that a mesh carries."""
    packed = [array.to(DEVICE) for array in table.packed]
    p, w, images = (value.to(DEVICE) for value in (positions.mT, table.in_slots(weights), probe))
    out = mesh.mesh_splat(p, w, *packed, probe.shape[-1])
    d_positions, d_weights = mesh.mesh_splat_backward(p, w, images, *packed)
    return [out.cpu(), d_positions.cpu().mT, d_weights.cpu()[table.slot]]


def assert_equal(ours: list[Tensor], theirs: list[Tensor], tolerance: float) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape and a.dtype == torch.float32
        assert (a - b).abs().max() <= tolerance * b.abs().max()


# Blocks are of 64 points; part of the points lies outside of the image.
@pytest.mark.parametrize(("batch", "points", "box"), [(1, 1, 8), (3, 64, 21), (2, 197, 16), (5, 7, 4)])
def test_points_are_splat_as_by_torch(batch: int, points: int, box: int) -> None:
    positions, weights = box / 2 + box / 3 * drawn(batch, 2, points), drawn(points, seed=1)
    positions[0, :, 0] = box / 2 - 0.3
    probe = drawn(batch, box, box, seed=2)
    theirs = truth(lambda p, w: reference.splat(p, w, box), (positions, weights), probe)
    assert_equal(of_points(positions, weights, probe), theirs, 3e-6)


def test_images_are_gathered_at_points_as_by_torch() -> None:
    positions, images = 16 + 11 * drawn(4, 2, 130), drawn(4, 32, 32, seed=1)
    ours = splat.gather(positions.to(DEVICE), images.to(DEVICE)).cpu()
    assert_equal([ours], [reference.gather(positions.double(), images.double())], 3e-6)


@pytest.mark.parametrize(("batch", "box"), [(1, 40), (3, 40), (2, 12)])
def test_points_that_a_mesh_carries_are_splat_as_by_torch(batch: int, box: int) -> None:
    positions, weights, probe = projected(batch, box), drawn(TABLE.count), drawn(batch, box, box, seed=1)
    theirs = truth(lambda p, w: reference.mesh_splat(p, w, TABLE, box), (positions, weights), probe)
    assert_equal(of_mesh(positions, weights, probe), theirs, 1e-5)


def test_images_are_gathered_at_a_mesh_as_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three images, two of which share a buffer."""
    monkeypatch.setattr(mesh, "_IMAGES", 2)
    positions, images = projected(3, 24), drawn(3, 24, 24)
    ours = mesh.mesh_gather(positions.mT.to(DEVICE), images.to(DEVICE), *PACKED).cpu()[TABLE.slot]
    assert_equal([ours], [reference.mesh_gather(positions.double(), images.double(), TABLE)], 1e-5)


def test_an_image_does_not_know_what_other_images_are_in_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, for whatever is summed in a fixed order; and weights have the sum of what each image says."""
    monkeypatch.setattr(mesh, "_IMAGES", 2)
    positions, weights, probe = projected(3, 24), drawn(TABLE.count), drawn(3, 24, 24, seed=1)
    _, together, summed = of_mesh(positions, weights, probe)
    alone = [of_mesh(positions[i : i + 1], weights, probe[i : i + 1]) for i in range(3)]
    assert torch.equal(together, torch.cat([each[1] for each in alone]))
    assert_equal([summed], [sum(each[2].double() for each in alone)], 1e-6)


def test_far_and_non_finite_places_add_nothing() -> None:
    positions, probe = torch.full((4, 2, 3), 8.0), torch.ones(4, 16, 16)
    for image, value in enumerate((float("nan"), float("inf"), 1e30, -1e9)):
        positions[image, image % 2] = value
    assert all(value.abs().max() == 0 for value in of_points(positions, torch.ones(3), probe))
    positions = projected(4, 16)
    for image, value in enumerate((float("nan"), float("inf"), 1e30, -1e9)):
        positions[image] = value
    assert all(value.abs().max() == 0 for value in of_mesh(positions, torch.ones(TABLE.count), probe))


def test_without_points_and_without_images_there_is_nothing() -> None:
    images, d_positions, d_weights = of_points(torch.zeros(2, 2, 0), torch.zeros(0), torch.ones(2, 8, 8))
    assert images.shape == (2, 8, 8) and images.abs().max() == 0
    assert d_positions.shape == (2, 2, 0) and d_weights.shape == (0,)
    images, d_positions, d_weights = of_points(torch.zeros(0, 2, 5), torch.ones(5), torch.ones(0, 8, 8))
    assert images.shape == (0, 8, 8) and d_weights.tolist() == [0.0] * 5
    empty = MeshTable(VERTICES, torch.tensor([[0, 1, 2, 4]]), torch.zeros(0, 3), torch.zeros(0), 1.7)
    images, d_positions, d_weights = of_mesh(projected(2, 8), torch.zeros(0), torch.ones(2, 8, 8), empty)
    assert images.abs().max() == 0 and d_positions.abs().max() == 0 and d_weights.shape == (0,)


def test_arguments_may_have_any_strides() -> None:
    positions, weights, images = 8 + 3 * drawn(2, 2, 30), drawn(30), drawn(2, 16, 16, seed=1)
    odd = (positions.mT.contiguous().mT, torch.stack([weights, weights], 1)[:, 0], images.mT.contiguous().mT)
    assert not any(value.is_contiguous() for value in odd)
    strided, plain = of_points(*odd)[1:], of_points(positions, weights, images)[1:]
    assert all(torch.equal(a, b) for a, b in zip(strided, plain, strict=True))
    p, w = projected(2, 16), TABLE.in_slots(drawn(TABLE.count))
    plain = mesh.mesh_splat_backward(p.mT.contiguous().to(DEVICE), w.to(DEVICE), images.to(DEVICE), *PACKED)
    strided = mesh.mesh_splat_backward(p.mT.to(DEVICE), w.to(DEVICE), odd[2].to(DEVICE), *PACKED)
    assert all(torch.equal(a, b) for a, b in zip(plain, strided, strict=True))


def test_arrays_that_do_not_fit_each_other_are_refused() -> None:
    points, weights, images = torch.zeros(2, 2, 5), torch.zeros(5), torch.zeros(2, 8, 8)
    pairs, slots = torch.zeros(2, TABLE.nodes, 2), torch.zeros(TABLE.slots)
    for call in (
        lambda: splat.splat(points, weights[1:], 8),
        lambda: splat.splat_backward(points, weights, images[1:]),
        lambda: splat.gather(points, images[:, 1:]),
        lambda: mesh.mesh_splat(pairs, slots[1:], *TABLE.packed, 8),
        lambda: mesh.mesh_splat_backward(pairs, slots, images[:1], *TABLE.packed),
        lambda: mesh.mesh_gather(pairs, images[:, 1:], *TABLE.packed),
    ):
        with pytest.raises(ValueError, match="shape"):
            call()


def test_kernels_that_are_right_pass_their_trial_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trial.failure(DEVICE) is None
    right = splat.splat_backward
    monkeypatch.setattr(splat, "splat_backward", lambda *given: [1.01 * value for value in right(*given)])
    assert str(trial.failure(DEVICE)).startswith("splats of points differ from torch's by 1.0e-02")
