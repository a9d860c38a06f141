"""Laws of ``dynaflex mesh``: what it says is what it wrote, and every mistake ends in one clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.io.mesh_file import read_mesh
from dynaflex.io.mrc import Place, read_map, write_map
from dynaflex.mesh.fuse import shared_vertices
from dynaflex.mesh.voxels import cell_of_voxels
from dynaflex.prepare.mesh_store import load_mesh

Command = Callable[..., Any]
GRID = Grid(32, 4.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A body with two arms that touch: map, mask, segments in three fashions, and regions."""
    folder = tmp_path_factory.mktemp("maps")
    z, y, x = torch.meshgrid(*[GRID.axis()] * 3, indexing="ij")
    labels = torch.full((GRID.box,) * 3, -1.0)
    labels[(x.abs() < 40) & (y.abs() < 20) & (z > -45) & (z < 0)] = 0
    labels[(x < 0) & (x > -22) & (y.abs() < 15) & (z >= 0) & (z < 45)] = 1
    labels[(x >= 0) & (x < 22) & (y.abs() < 15) & (z >= 0) & (z < 45)] = 2
    inside = (labels >= 0).float()
    volumes = {
        "map": fourier.low_pass(inside, GRID, 14.0),
        "mask": inside,
        "segments": labels,
        "from_one": labels + 1,
        "halves": labels + 0.5,
        "still": ((z < -30) & (labels == 0)).float(),
        "everything": torch.ones_like(labels),
        "nothing": torch.zeros_like(labels),
        "arm": (labels == 2).float(),
    }
    for name, volume in volumes.items():
        write_map(folder / f"{name}.mrc", volume.numpy(), GRID.pixel_size)
    write_map(folder / "small.mrc", inside[4:-4, 4:-4, 4:-4].numpy(), GRID.pixel_size)
    write_map(folder / "stretched.mrc", inside.numpy(), 1.1 * GRID.pixel_size)
    write_map(folder / "no_scale.mrc", volumes["map"].numpy(), 0.0)
    two = labels.clone()
    two[labels == 2] = -1
    two[28:30, 28:30, 28:30] = 5
    write_map(folder / "outside.mrc", two.numpy(), GRID.pixel_size)
    write_map(folder / "islands.mrc", (two >= 0).float().numpy(), GRID.pixel_size)
    return folder


@pytest.fixture
def mesh(folder: Path, tmp_path: Path, command: Command) -> Command:
    """``mesh("--cells", 8)``: the command on the map, into ``mesh.npz``; names of volumes stand for their files."""

    def run(*options: object, map: str = "map") -> Any:
        named = [folder / f"{o}.mrc" if (folder / f"{o}.mrc").is_file() else o for o in options]
        return command("mesh", folder / f"{map}.mrc", "-o", tmp_path / "mesh.npz", *named)

    return run


def test_a_mesh_covers_the_mask_and_has_a_picture(mesh: Command, folder: Path, tmp_path: Path) -> None:
    outcome = mesh("--mask", "mask", "--cells", 10)
    assert outcome.code == 0, outcome.err
    stored = read_mesh(tmp_path / "mesh.npz")
    assert f"{len(stored.vertices)} vertices, {len(stored.cells)} cells" in outcome.out
    assert "warning" not in outcome.out
    carrier = cell_of_voxels(load_mesh(tmp_path / "mesh.npz").mesh, GRID)
    assert bool((carrier[torch.from_numpy(read_map(folder / "mask.mrc").data) > 0.5] >= 0).all())
    assert stored.weights.max() == 1.0 and stored.weights.min() >= 0.5
    picture = imread(tmp_path / "mesh.png")
    assert picture.shape[1] > 1000 and picture[..., :3].std() > 0.05


def test_without_a_mask_the_density_is_covered(mesh: Command, tmp_path: Path) -> None:
    assert mesh("--cells", 10).code == 0
    own = load_mesh(tmp_path / "mesh.npz")
    assert mesh("--mask", "mask", "--cells", 10).code == 0
    inner = load_mesh(tmp_path / "mesh.npz")
    assert bool((own.mesh.locate(inner.mesh.vertices[inner.mesh.cells].mean(dim=1)) >= 0).all())


def test_segments_are_cut_fused_and_counted(mesh: Command, tmp_path: Path) -> None:
    outcome = mesh("--mask", "mask", "--segments", "segments", "--fuse", "0>1,0>2", "--cells", 10)
    assert outcome.code == 0, outcome.err
    labelled = load_mesh(tmp_path / "mesh.npz")
    assert labelled.labels is not None and labelled.grid == GRID
    for segment in range(3):
        voxels, cells = int((labelled.labels == segment).sum()), int((labelled.mesh.segment == segment).sum())
        assert f"segment {segment}: {voxels} voxels, {cells} cells" in outcome.out
    for pair in ((0, 1), (0, 2)):
        count = shared_vertices(labelled.mesh, pair)
        assert count >= 3
        assert f"contact {pair[0]} with {pair[1]}" in outcome.out and f"fused at {count} vertices" in outcome.out
    assert shared_vertices(labelled.mesh, (1, 2)) == 0
    assert "warning: segments 1 and 2 are not connected" in outcome.out


def test_the_suggestion_can_be_followed(mesh: Command, tmp_path: Path) -> None:
    outcome = mesh("--mask", "mask", "--segments", "segments", "--cells", 8)
    assert outcome.code == 3
    suggestion = outcome.error_line().split('--fuse "')[1].split('"')[0]
    assert mesh("--mask", "mask", "--segments", "segments", "--cells", 8, "--fuse", suggestion).code == 0
    given = (tmp_path / "mesh.npz").read_bytes()
    assert mesh("--mask", "mask", "--segments", "segments", "--cells", 8, "--fuse", "auto").code == 0
    assert (tmp_path / "mesh.npz").read_bytes() == given


@pytest.mark.parametrize("whole", ["segments", "from_one"])
def test_what_was_cropped_is_used_in_place(mesh: Command, folder: Path, tmp_path: Path, whole: str) -> None:
    """As ChimeraX crops: a region, and in the header where it begins."""
    named = {"--mask": "mask", "--segments": whole, "--stationary": "still", "--refine": "arm"}
    options = ("--fuse", "auto", "--cells", 8)
    assert mesh(*(part for pair in named.items() for part in pair), *options).code == 0
    expected = (tmp_path / "mesh.npz").read_bytes()
    for name in named.values():
        volume = read_map(folder / f"{name}.mrc").data
        write_map(tmp_path / f"{name}.mrc", volume[3:30, 2:, 4:29], GRID.pixel_size, Place(start=(4, 2, 3)))
    cropped = (part for option, name in named.items() for part in (option, tmp_path / f"{name}.mrc"))
    outcome = mesh(*cropped, *options)
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "mesh.npz").read_bytes() == expected
    assert outcome.out.count("was put where its header says") == 4


def test_segments_may_be_numbered_from_one_with_solvent_zero(mesh: Command, tmp_path: Path) -> None:
    outcome = mesh("--mask", "mask", "--segments", "from_one", "--fuse", "1>2,1>3", "--cells", 8)
    assert outcome.code == 0, outcome.err
    assert "warning: no voxel of the segmentation is negative, so 0 is taken for solvent" in outcome.out
    assert load_mesh(tmp_path / "mesh.npz").mesh.segment.unique().tolist() == [1, 2, 3]


def test_parts_may_stay_separate_when_asked(mesh: Command, tmp_path: Path) -> None:
    assert mesh("--mask", "mask", "--segments", "segments", "--separate", "--cells", 8).code == 0
    assert int(load_mesh(tmp_path / "mesh.npz").mesh.parts().max()) == 2


def test_rigid_stationary_stiff_and_fine(mesh: Command, folder: Path, tmp_path: Path) -> None:
    common = ("--mask", "mask", "--segments", "segments", "--fuse", "0>1,0>2", "--cells", 8)
    changes = ("--rigid", "0,2", "--stationary", "still", "--stiffen", "--refine", "arm")
    outcome = mesh(*common, *changes, "--product", tmp_path / "product.pkl")
    assert outcome.code == 0, outcome.err
    assert "cryoSPARC's mesh has no fixed vertices" in outcome.out
    labelled = load_mesh(tmp_path / "mesh.npz").mesh
    assert bool((labelled.weights[labelled.segment != 1] == 20.0).all())
    assert float(labelled.weights[labelled.segment == 1].max()) <= 3.0
    assert f"{int(labelled.fixed.sum())} vertices never move" in outcome.out
    assert bool((labelled.vertices[labelled.fixed, 2] < 0.0).all())
    assert "warning: segments 0 and 2 are rigid and fused: they move as one" in outcome.out
    corners = labelled.vertices[labelled.cells]
    longest = torch.cdist(corners, corners).amax(dim=(1, 2))
    assert float(longest[labelled.segment == 2].max()) < 0.6 * float(longest[labelled.segment == 0].max())


def test_islands_are_told(mesh: Command, folder: Path) -> None:
    outcome = mesh("--mask", "islands", "--cells", 8)
    assert outcome.code == 0
    assert "warning: the mesh falls into 2 parts that nothing joins" in outcome.out


@pytest.mark.parametrize("suffix", ["npz", "pkl"])
def test_a_mesh_is_exported_and_read_again(mesh: Command, tmp_path: Path, suffix: str) -> None:
    common = ("--mask", "mask", "--segments", "segments", "--fuse", "0>1,0>2", "--cells", 8)
    assert mesh(*common, "--product", tmp_path / "product.pkl").code == 0
    first = load_mesh(tmp_path / "mesh.npz")
    (tmp_path / "mesh.npz").rename(tmp_path / "product.npz")
    outcome = mesh("--mask", "mask", "--from", tmp_path / f"product.{suffix}", "--rigid", "1")
    assert outcome.code == 0, outcome.err
    assert "warning" not in outcome.out
    second = load_mesh(tmp_path / "mesh.npz")
    assert torch.allclose(second.mesh.vertices, first.mesh.vertices)
    assert torch.equal(second.mesh.cells, first.mesh.cells)
    assert torch.equal(second.labels_on(GRID), first.labels)  # type: ignore[arg-type]
    carriers = [cell_of_voxels(one.mesh, GRID, one.labels_on(GRID)) for one in (first, second)]
    assert torch.equal(*carriers)
    assert bool((second.mesh.weights[second.mesh.segment == 1] == 20.0).all())


def test_a_mesh_of_another_molecule_is_noticed(mesh: Command, tmp_path: Path) -> None:
    assert mesh("--mask", "arm", "--cells", 8).code == 0
    (tmp_path / "mesh.npz").rename(tmp_path / "arm.npz")
    outcome = mesh("--mask", "mask", "--from", tmp_path / "arm.npz")
    assert outcome.code == 0
    assert "voxels of the mask lie in no cell" in outcome.out


SEGMENTED = ("--mask", "mask", "--segments", "segments")
MISTAKES: dict[str, tuple[tuple[object, ...], int, list[str]]] = {
    "mask of another box": (("--mask", "small"), 3, ["small.mrc", "32 voxels", "24 voxels", "volume.box"]),
    "mask of another pixel size": (("--mask", "stretched"), 3, ["stretched.mrc", "4 Å", "4.4 Å", "volume.pixel-size"]),
    "an empty mask": (("--mask", "nothing"), 3, ["nothing.mrc", "mask.values"]),
    "no such mask": (("--mask", "none.mrc"), 3, ["none.mrc", "No such file"]),
    "segments of another box": (("--mask", "mask", "--segments", "small"), 3, ["small.mrc", "volume.box"]),
    "segments that are no whole numbers": (("--segments", "halves"), 3, ["halves.mrc", "mesh.labels", "whole numbers"]),
    "no segments": (("--segments", "nothing"), 3, ["nothing.mrc", "mesh.no-segments"]),
    "a segment outside the mask": (
        ("--mask", "mask", "--segments", "outside", "--fuse", "0>1"), 3, ["outside.mrc", "segment 5 is empty"],
    ),
    "unknown segment to fuse": ((*SEGMENTED, "--fuse", "0>1,0>7"), 3, ["segments.mrc", "segment 7", "0, 1, 2"]),
    "unconnected segments": ((*SEGMENTED, "--fuse", "0>1"), 3, ["segments.mrc", "0, 1 | 2", "--separate"]),
    "unknown rigid segment": (
        (*SEGMENTED, "--fuse", "0>1,0>2", "--rigid", "4"), 3, ["segments.mrc", "segment 4 cannot be rigid"],
    ),
    "a segment fused with itself": ((*SEGMENTED, "--fuse", "1>1"), 2, ["fuse.self"]),
    "unreadable connections": ((*SEGMENTED, "--fuse", "0-1"), 2, ["fuse.syntax", "0>1,0>2"]),
    "unreadable rigid list": ((*SEGMENTED, "--rigid", "body"), 2, ["usage.rigid", "0,3"]),
    "fuse without segments": (("--fuse", "0>1"), 2, ["--segments"]),
    "stationary everywhere": (
        ("--mask", "mask", "--stationary", "everything"), 3, ["everything.mrc", "mesh.all-stationary", "smaller"],
    ),
    "stationary nowhere": (("--stationary", "nothing"), 3, ["nothing.mrc", "mesh.stationary-outside"]),
    "finer nowhere": (("--refine", "nothing"), 3, ["nothing.mrc", "mesh.refine-outside"]),
    "no cells": (("--cells", 0), 2, ["mesh.cells", "1 to 32"]),
    "too many cells": (("--cells", 33), 2, ["mesh.cells", "1 to 32"]),
    "a weight below zero": (("--minimum-weight", -1), 2, ["--minimum-weight", "usage.range"]),
    "building a mesh that is read": (("--from", "mask", "--cells", 10), 2, ["mesh.options"]),
    "no mesh to read": (("--from", "none.npz"), 3, ["none.npz", "mesh-file.missing"]),
    "a map to read as mesh": (("--from", "mask"), 3, ["mask.mrc", "mesh-file.unreadable"]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line_and_writes_nothing(mesh: Command, tmp_path: Path, mistake: str) -> None:
    options, code, told = MISTAKES[mistake]
    outcome = mesh(*options)
    line = outcome.error_line()
    assert outcome.code == code, line
    for text in told:
        assert text in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("map", "told"), [("no_scale", "map.no-pixel-size"), ("nothing", "map.constant"), ("small", "volume.box")]
)
def test_a_map_that_cannot_be_used_is_told(mesh: Command, map: str, told: str) -> None:
    options = ("--mask", "mask") if map == "small" else ()
    outcome = mesh(*options, map=map)
    assert outcome.code == 3
    assert told in outcome.error_line()


def test_a_damaged_mesh_is_told_with_its_file(mesh: Command, tmp_path: Path) -> None:
    assert mesh("--mask", "mask", "--cells", 8).code == 0
    arrays = dict(np.load(tmp_path / "mesh.npz"))
    arrays["cells"][3] = arrays["cells"][3, 0]
    np.savez(tmp_path / "flat.npz", **arrays)
    outcome = mesh("--from", tmp_path / "flat.npz")
    assert outcome.code == 3
    assert "flat.npz" in outcome.error_line() and "mesh.flat-cell" in outcome.error_line()


def test_an_output_of_another_kind_is_refused(folder: Path, tmp_path: Path, command: Command) -> None:
    outcome = command("mesh", folder / "map.mrc", "-o", tmp_path / "mesh.png")
    assert outcome.code == 2
    assert "mesh.output" in outcome.error_line()


def test_the_folder_of_a_mesh_is_made(folder: Path, tmp_path: Path, command: Command) -> None:
    outcome = command("mesh", folder / "map.mrc", "--cells", 6, "-o", tmp_path / "new" / "mesh.npz")
    assert outcome.code == 0, outcome.err
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"mesh.npz", "mesh.png"}


def test_an_output_that_cannot_be_written_is_told(folder: Path, command: Command) -> None:
    outcome = command("mesh", folder / "map.mrc", "--cells", 6, "-o", folder / "map.mrc" / "mesh.npz")
    assert outcome.code == 4
    assert "output.unwritable" in outcome.error_line()
