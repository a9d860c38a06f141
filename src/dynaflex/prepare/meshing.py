"""A mesh from a map and what a user says about it, and meshes from files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dynaflex import fourier
from dynaflex.checking.findings import Report
from dynaflex.checking.volume_checks import check_map, check_mask
from dynaflex.data.placed import Frame, read_mask, read_segments
from dynaflex.density.placement import automatic_threshold
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.io.foreign.product_mesh import write_product_mesh
from dynaflex.io.mrc import read_map
from dynaflex.mesh.build import density_weights, hold, lattice, stiff_segments
from dynaflex.mesh.fuse import segmented_mesh, shared_vertices
from dynaflex.mesh.refine import refine
from dynaflex.mesh.segments import (
    Contact,
    LabelledMesh,
    Pair,
    contacts,
    expand_labels,
    parse_connections,
    suggest_connections,
)
from dynaflex.mesh.tetmesh import TetMesh
from dynaflex.mesh.voxels import cell_of_voxels
from dynaflex.prepare.mesh_store import load_mesh, mesh_arrays, naming
from dynaflex.reconstruct.postprocess import soft_mask
from dynaflex.shapes import Tensor

_MASK_RESOLUTION = 20.0


@dataclass(frozen=True)
class MeshFiles:
    """The maps a user names: the consensus, its mask, and where segments, stationary and finer regions are."""

    map: Path
    mask: Path | None = None
    segments: Path | None = None
    stationary: Path | None = None
    refine: Path | None = None


@dataclass(frozen=True)
class MeshSettings:
    """How to build: ``cells`` along the box, or cubes of 10 Å; connections ``fuse`` (text, or ``auto`` for those
    suggested); segments that are ``rigid``; 3 instead of less for weak density (``stiffen``); the weight of empty
    cells; and whether parts may stay ``separate``."""

    cells: int | None = None
    fuse: str = ""
    rigid: tuple[int, ...] = ()
    stiffen: bool = False
    minimum_weight: float = 0.5
    separate: bool = False


@dataclass(frozen=True)
class MeshReport:
    """A mesh with what was found on the way: ``mask`` and ``density`` ``(d d d)`` on ``grid``, where segments touch
    each other, and warnings."""

    labelled: LabelledMesh
    grid: Grid
    mask: Tensor
    density: Tensor
    touching: tuple[Contact, ...]
    warnings: tuple[str, ...]

    @property
    def mesh(self) -> TetMesh:
        """The mesh itself."""
        return self.labelled.mesh

    @property
    def suggestion(self) -> list[Pair]:
        """The connections that the contacts between segments suggest."""
        return suggest_connections(self.touching)

    def carrier(self) -> Tensor:
        """The cell of every voxel of the map, ``(d d d)``, or -1."""
        return self.labelled.carrier(self.grid)


def make_mesh(files: MeshFiles, settings: MeshSettings) -> MeshReport:
    """Build a mesh over the molecule.

    Raises:
        InputError: a file is missing, damaged or does not fit the map, or nothing would be left to move.
        UsageError: a setting that cannot mean anything.
    """
    connections = parse_connections(settings.fuse) if settings.fuse not in ("", "auto") else []
    warnings: list[str] = []
    frame, density, mask = _molecule(files, warnings)
    grid, inside = frame.grid, mask > 0.5
    with naming(files.mask or files.map):
        mesh = lattice(inside, grid, settings.cells)
    if files.refine is not None:
        with naming(files.refine):
            mesh = refine(mesh, torch.from_numpy(read_mask(files.refine, frame, warnings)) > 0.5, grid)
    labelled, touching = LabelledMesh(mesh), []
    if files.segments is not None:
        with naming(files.segments):
            labels = expand_labels(torch.from_numpy(read_segments(files.segments, frame, warnings)), mask)
            touching = contacts(labels, grid, density)
            if settings.fuse == "auto":
                connections = suggest_connections(touching)
            cut = segmented_mesh(mesh, labels, grid, connections, touching, separate=settings.separate)
        warnings += cut.warnings
        labelled = LabelledMesh(cut.mesh, labels, grid)
    carrier = torch.where(inside, cell_of_voxels(labelled.mesh, grid, labelled.labels), -1)
    weights = density_weights(carrier, density, labelled.mesh.volumes(), settings.minimum_weight, settings.stiffen)
    labelled = replace(labelled, mesh=replace(labelled.mesh, weights=weights))
    report = MeshReport(labelled, grid, mask, density, tuple(touching), tuple(warnings))
    return _finished(report, frame, files, settings)


def inspect_mesh(path: Path, files: MeshFiles, settings: MeshSettings) -> MeshReport:
    """A mesh from a file, on a map; its rigid segments and stationary region can be changed.

    Raises:
        InputError: a file is missing, damaged or does not fit the map.
    """
    labelled = load_mesh(path)
    warnings: list[str] = []
    frame, density, mask = _molecule(files, warnings)
    labels = labelled.labels_on(frame.grid)
    touching = [] if labels is None else contacts(labels, frame.grid, density)
    report = MeshReport(labelled, frame.grid, mask, density, tuple(touching), tuple(warnings))
    return _finished(report, frame, files, settings)


def export_mesh(path: Path | str, report: MeshReport) -> None:
    """Write a mesh for cryoSPARC's 3D Flex.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    labels = report.labelled.labels_on(report.grid)
    here = replace(report.labelled, labels=labels, grid=None if labels is None else report.grid)
    arrays = mesh_arrays(here)
    write_product_mesh(path, arrays, report.carrier().numpy(), report.mask.numpy(), report.grid.pixel_size)


def _finished(report: MeshReport, frame: Frame, files: MeshFiles, settings: MeshSettings) -> MeshReport:
    """Make segments rigid, hold what is stationary, and look for what is odd about the result."""
    warnings: list[str] = []
    with naming(files.segments):
        mesh = stiff_segments(report.mesh, list(settings.rigid))
    if files.stationary is not None:
        still = torch.from_numpy(read_mask(files.stationary, frame, warnings))
        with naming(files.stationary):
            mesh = hold(mesh, still, report.grid)
    report = replace(report, labelled=replace(report.labelled, mesh=mesh))
    warnings += [
        f"segments {first} and {second} are rigid and fused: they move as one"
        for first, second in (contact.pair for contact in report.touching)
        if {first, second} <= set(settings.rigid) and shared_vertices(mesh, (first, second)) > 0
    ]
    inside = report.mask > 0.5
    uncovered = int(((report.carrier() < 0) & inside).sum())
    if uncovered > 0:
        warnings.append(f"{uncovered} of {int(inside.sum())} voxels of the mask lie in no cell and cannot move")
    cells_of_part = torch.bincount(mesh.parts()[mesh.cells[:, 0]])
    if len(cells_of_part) > 1 and not settings.separate:
        sizes = ", ".join(map(str, cells_of_part.sort(descending=True).values.tolist()))
        warnings.append(f"the mesh falls into {len(cells_of_part)} parts that nothing joins, of {sizes} cells")
    return replace(report, warnings=(*report.warnings, *warnings))


def _molecule(files: MeshFiles, warnings: list[str]) -> tuple[Frame, Tensor, Tensor]:
    """Frame, density and mask ``(d d d)`` of the molecule; without a mask, around the density at 20 Å."""
    consensus = read_map(files.map)
    if consensus.pixel_size is None:
        raise InputError(
            "map.no-pixel-size",
            "the header of this map has no pixel size",
            file=files.map,
            fix=f"relion_image_handler --i {files.map} --force_header_angpix 1.05 --o out.mrc, with the true Å a voxel",
        )
    frame, density, found = Frame.of(consensus), torch.from_numpy(consensus.data), Report()
    check_map(found, consensus, files.map)
    warnings += found.warnings
    if files.mask is not None:
        mask = read_mask(files.mask, frame, warnings)
        check_mask(found, mask, files.mask)
        found.raise_first()
        return frame, density, torch.from_numpy(mask)
    found.raise_first()
    low = fourier.low_pass(density, frame.grid, _MASK_RESOLUTION)
    threshold = automatic_threshold(low)
    if not bool((low > threshold).any()):
        raise InputError(
            "map.empty-contour",
            "no molecule can be seen in this map",
            file=files.map,
            expected="white density on darker solvent",
            found=f"values from {float(density.min()):.4g} to {float(density.max()):.4g}",
            fix="give a mask with --mask",
        )
    return frame, density, soft_mask(low, frame.grid, threshold)
