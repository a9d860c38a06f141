"""Laws of segments: nearest voxel wins, contacts are counted by face, and connections mean what they say."""

from __future__ import annotations

import pytest
import torch

from dynaflex.errors import InputError, UsageError
from dynaflex.grid import Grid
from dynaflex.mesh.build import lattice
from dynaflex.mesh.segments import (
    LabelledMesh,
    connected_groups,
    contacts,
    expand_labels,
    format_connections,
    moved_labels,
    parse_connections,
    resample_labels,
    suggest_connections,
)
from dynaflex.shapes import Tensor


def test_a_voxel_takes_the_nearest_segment() -> None:
    grid = Grid(12, 1.0)
    labels = torch.full((12,) * 3, -1)
    seeds = {4: (2, 2, 2), 0: (9, 9, 9), 7: (2, 9, 4)}
    for segment, place in seeds.items():
        labels[place] = segment
    mask = grid.radius_of_points().reshape(labels.shape) < 6.5
    expanded = expand_labels(labels, mask.float())
    assert torch.equal(expanded >= 0, mask)
    voxels = mask.nonzero()
    distance = torch.stack([(voxels - torch.tensor(place)).double().norm(dim=1) for place in seeds.values()])
    nearest = distance.amin(dim=0)
    chosen = torch.stack([expanded[mask] == segment for segment in seeds])
    assert bool((chosen.sum(dim=0) == 1).all())
    assert torch.allclose(distance[chosen], nearest[chosen.nonzero()[:, 1]])


def test_labels_inside_the_mask_stay(arms: Tensor) -> None:
    assert torch.equal(expand_labels(arms, (arms >= 0).float()), arms)


def test_a_segment_outside_the_mask_is_refused(arms: Tensor) -> None:
    with pytest.raises(InputError, match="segment 2 is empty") as caught:
        expand_labels(arms, ((arms == 0) | (arms == 1)).float())
    assert caught.value.identifier == "mesh.empty-segment"


def test_no_segment_at_all_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        expand_labels(torch.full((4, 4, 4), -1), torch.ones(4, 4, 4))
    assert caught.value.identifier == "mesh.no-segments"


@pytest.mark.parametrize("box", [16, 15])
def test_labels_survive_a_finer_grid_and_back(box: int) -> None:
    labels = torch.randint(-1, 4, (box,) * 3, generator=torch.Generator().manual_seed(0))
    grid = Grid(box, 3.0)
    finer = Grid(3 * box, 1.0)
    assert torch.equal(resample_labels(labels, grid, grid), labels)
    up = resample_labels(labels, grid, finer)
    assert torch.equal(resample_labels(up, finer, grid), labels)
    points = finer.points()
    nearest = (points / grid.pixel_size + grid.center).round().long().clamp(0, box - 1)
    inside = (
        (points / grid.pixel_size + grid.center + 0.5 >= 0) & (points / grid.pixel_size + grid.center + 0.5 < box)
    ).all(dim=1)
    assert torch.equal(up.reshape(-1)[inside], labels[nearest[:, 2], nearest[:, 1], nearest[:, 0]][inside])


def test_a_mesh_of_one_segment_needs_no_labels(grid: Grid, arms: Tensor) -> None:
    mesh = lattice(arms >= 0, grid, 8)
    assert LabelledMesh(mesh).labels_on(grid) is None
    assert torch.equal(LabelledMesh(mesh, arms, grid).labels_on(grid), arms)  # type: ignore[arg-type]


def test_a_contact_is_the_area_of_the_common_faces(grid: Grid, arms: Tensor) -> None:
    found = {contact.pair: contact for contact in contacts(arms, grid)}
    assert set(found) == {(0, 1), (0, 2), (1, 2)}
    between_arms = found[1, 2]
    assert between_arms.area == 9 * 19 * grid.pixel_size**2  # 9 voxels deep and 19 high
    assert bool((between_arms.faces[:, 0] == -0.5 * grid.pixel_size).all())
    below = found[0, 1]
    assert bool((below.faces[:, 2] == -0.5 * grid.pixel_size).all())
    assert below.area == len(below.faces) * grid.pixel_size**2


def test_contacts_do_not_depend_on_the_axis(grid: Grid, arms: Tensor) -> None:
    turned = arms.permute(2, 0, 1)
    areas = {contact.pair: contact.area for contact in contacts(arms, grid)}
    assert {contact.pair: contact.area for contact in contacts(turned, grid)} == areas


def test_the_density_on_a_contact_is_its_strength(grid: Grid, arms: Tensor) -> None:
    assert contacts(arms, grid)[0].pair == (1, 2)
    gap = torch.ones((grid.box,) * 3)
    gap[..., grid.center - 1 : grid.center + 1] = torch.where(arms[..., 23:25] > 0, 0.01, 1.0)
    ordered = contacts(arms, grid, gap)
    assert ordered[-1].pair == (1, 2)
    assert suggest_connections(ordered) == [(0, 2), (0, 1)]


def test_suggestions_join_all_that_touch_with_as_few_as_can_be() -> None:
    grid = Grid(8, 1.0)
    labels = torch.full((8,) * 3, -1)
    for segment in range(4):
        labels[2 * (segment // 2) : 2 * (segment // 2) + 2, :, 2 * (segment % 2) : 2 * (segment % 2) + 2] = segment
    labels[7] = 9
    pairs = suggest_connections(contacts(labels, grid))
    assert len(pairs) == 3
    assert sorted(map(sorted, connected_groups([0, 1, 2, 3, 9], pairs))) == [[0, 1, 2, 3], [9]]


def test_connections_are_read_and_written() -> None:
    assert parse_connections("0>1, 3 > 2,1>0") == [(0, 1), (2, 3)]
    assert parse_connections(format_connections([(0, 1), (2, 13)])) == [(0, 1), (2, 13)]


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        ("0-1", "fuse.syntax"),
        ("", "fuse.syntax"),
        ("0>1,", "fuse.syntax"),
        ("-1>0", "fuse.syntax"),
        ("2>2", "fuse.self"),
    ],
)
def test_other_connections_are_refused(text: str, identifier: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_connections(text)
    assert caught.value.identifier == identifier


def test_labels_go_with_the_segments_that_move() -> None:
    grid = Grid(16, 2.0)
    labels = (grid.points()[:, 0] > 0.0).long().view((16,) * 3)
    rest = grid.points()[::3]
    assert torch.equal(moved_labels(labels, grid, grid.points(), rest, rest), labels.flatten())
    # One half of the box stays, the other is three voxels away.
    away = torch.where(rest[:, :1] > 0.0, torch.tensor([6.0, 0.0, 0.0]), torch.zeros(3))
    found = moved_labels(labels, grid, rest + away, rest, rest + away)
    assert torch.equal(found, labels.flatten()[::3])
    beyond = moved_labels(labels, grid, grid.points(), rest, rest + torch.tensor([12.0, 0.0, 0.0]))
    assert (
        torch.equal(beyond.view((16,) * 3)[:, :, 6:], labels[:, :, :10])
        and (beyond.view((16,) * 3)[:, :, :6] < 0).all()
    )
