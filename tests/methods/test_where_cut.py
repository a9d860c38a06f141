"""Laws of cutting a mesh: bodies that slide along each other come apart, all else stays as it was."""

from __future__ import annotations

import pytest
import torch

from dynaflex import rotations
from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.grid import Grid
from dynaflex.mesh.build import lattice
from dynaflex.mesh.segments import LabelledMesh
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.methods.flex import where_cut
from dynaflex.methods.flex.where_cut import Conformations
from dynaflex.shapes import Tensor

GRID = Grid(32, 4.0)
BASE, LEFT, RIGHT = 0, 1, 2
SWINGS = torch.linspace(-0.3, 0.3, 7)


def two_bars_on_a_base() -> Tensor:
    """The body of every voxel ``(d d d)``, -1 for none: two bars that stand side by side on a base, and touch."""
    points = GRID.points().view(*(GRID.box,) * 3, 3)
    x, y, z = points.unbind(dim=3)
    thick = z.abs() <= 14.0
    body = torch.full_like(x, -1, dtype=torch.int64)
    body[thick & (x.abs() <= 28.0) & (y >= -44.0) & (y < -20.0)] = BASE
    body[thick & (x >= -28.0) & (x < 0.0) & (y >= -20.0) & (y <= 40.0)] = LEFT
    body[thick & (x >= 0.0) & (x <= 28.0) & (y >= -20.0) & (y <= 40.0)] = RIGHT
    return body


def swung(points: Tensor, angle: Tensor) -> Tensor:
    """Points ``(n 3)`` turned about the line where bars stand on the base."""
    foot = torch.tensor([0.0, -20.0, 0.0])
    turn = rotations.axis_angle_to_matrix(torch.tensor([1.0, 0.0, 0.0]), angle).to(points)
    return (points - foot) @ turn.T + foot


def moved(points: Tensor, body: Tensor, bars: tuple[int, ...]) -> Tensor:
    """Where points ``(n 3)`` of these bodies are ``(f n 3)`` while bars swing, each in its own time."""
    frames = points.expand(len(SWINGS), -1, -1).clone()
    for bar in bars:
        swings = SWINGS if bar == LEFT else SWINGS.roll(3)
        for frame, angle in zip(frames, swings, strict=True):
            frame[body == bar] = swung(points, angle)[body == bar]
    return frames


@pytest.fixture
def carried() -> tuple[TetMesh, CanonicalMap]:
    body = two_bars_on_a_base()
    mesh = lattice(body >= 0, GRID, 12)
    labelled = LabelledMesh(mesh)
    volume = (body >= 0).float()
    return mesh, CanonicalMap(volume, GRID, mesh, torch.where(body >= 0, labelled.carrier(GRID), -1))


def motion(density: CanonicalMap, *bars: int) -> Conformations:
    body = two_bars_on_a_base().flatten()[density.voxels]
    return Conformations.of_all_ranks(density.sites, moved(density.sites, body, bars))


def test_bodies_that_slide_are_cut_apart_and_stay_on_what_they_turn_on(carried: tuple[TetMesh, CanonicalMap]) -> None:
    mesh, density = carried
    shown = motion(density, LEFT, RIGHT)
    found = where_cut.that_slide(density, shown)
    assert found is not None
    body = two_bars_on_a_base().flatten()[density.voxels]
    names = [int(found[body == one].mode().values) for one in (BASE, LEFT, RIGHT)]
    assert len(set(names)) == 3
    assert (found == torch.tensor(names)[body]).float().mean() > 0.9

    cut = where_cut.joined(mesh, density, found, shown)
    base, left, right = (set(cut.mesh.cells[cut.mesh.segment == name].flatten().tolist()) for name in names)
    assert not left & right and len(base & left) > 3 and len(base & right) > 3
    assert bool((cut.carrier(GRID).flatten()[density.voxels] >= 0).all())

    alone = where_cut.apart(mesh, density, found)
    base, left, right = (set(alone.mesh.cells[alone.mesh.segment == name].flatten().tolist()) for name in names)
    assert not left & right and not base & left and not base & right
    assert bool((alone.carrier(GRID).flatten()[density.voxels] >= 0).all())


@pytest.mark.parametrize("shorter", [1.0, 0.1])
def test_what_slides_does_not_depend_on_how_far(carried: tuple[TetMesh, CanonicalMap], shorter: float) -> None:
    _, density = carried
    shown = motion(density, LEFT, RIGHT)
    less = Conformations(shown.points, shown.points + shorter * (shown.moved - shown.points))
    assert where_cut.that_slide(density, less) is not None


@pytest.mark.parametrize("bars", [(), (LEFT,)], ids=["still", "one turns"])
def test_where_nothing_slides_nothing_is_cut(carried: tuple[TetMesh, CanonicalMap], bars: tuple[int, ...]) -> None:
    """One bar that turns beside one that stands slides too, but along the body that it turns on."""
    _, density = carried
    assert where_cut.that_slide(density, motion(density, *bars)) is None
