"""``mesh``: build, cut, fuse and look at the mesh of tetrahedra that carries the density in 3DFlex."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dynaflex.errors import UsageError

if TYPE_CHECKING:
    from dynaflex.prepare.meshing import MeshReport, MeshSettings


def mesh_command(
    map: Annotated[Path, typer.Argument(help="Consensus map, .mrc, white molecules.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Mesh to write, .npz; a picture goes beside it.")],
    mask: Annotated[
        Path | None, typer.Option(help="What the mesh covers, .mrc; default: around the density at 20 Å.")
    ] = None,
    cells: Annotated[
        int | None, typer.Option(help="Cubes of five tetrahedra along the box; default: cubes of 10 Å.")
    ] = None,
    segments: Annotated[
        Path | None, typer.Option(help="Segments, .mrc: a whole number per voxel, -1 in solvent.")
    ] = None,
    fuse: Annotated[
        str | None, typer.Option(help="Which segments are joined, where they touch: 0>1,0>2; or 'auto'.")
    ] = None,
    separate: Annotated[bool, typer.Option("--separate", help="Let segments stay that nothing joins.")] = False,
    rigid: Annotated[str | None, typer.Option(help="Segments that hardly deform: 0,3. Their weight is 20.")] = None,
    stationary: Annotated[Path | None, typer.Option(help="Mask of what never moves, as a micelle, .mrc.")] = None,
    stiffen: Annotated[
        bool, typer.Option("--stiffen", help="Weight 3 for weak density, so that it does not fly about.")
    ] = False,
    minimum_weight: Annotated[float | None, typer.Option(help="Weight of empty cells; default 0.5.")] = None,
    refine: Annotated[Path | None, typer.Option(help="Mask of where cells are half as large, .mrc.")] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Mesh to read instead, .npz or cryoSPARC's 3D Flex mesh.")
    ] = None,
    product: Annotated[Path | None, typer.Option(help="Also write the mesh for cryoSPARC's 3D Flex.")] = None,
) -> None:
    """Build a mesh over a molecule, or convert one, and show it."""
    from dynaflex.io.durable import make_folder
    from dynaflex.prepare.mesh_store import save_mesh
    from dynaflex.prepare.meshing import MeshFiles, MeshSettings, export_mesh, inspect_mesh, make_mesh
    from dynaflex.report.drawing.mesh_picture import write_mesh_picture

    if out.suffix != ".npz":
        raise UsageError("mesh.output", f"--out cannot be {out}", expected="a name that ends in .npz")
    if source is not None:
        _refuse_building(cells, segments, fuse, separate, stiffen, minimum_weight, refine)
    if segments is None and fuse is not None:
        raise UsageError("mesh.options", "--fuse needs segments to join", expected="--segments SEG.mrc")
    if minimum_weight is not None and not 0.0 < minimum_weight <= 1.0:
        raise UsageError("usage.range", f"--minimum-weight cannot be {minimum_weight}", expected="above 0, up to 1")
    files = MeshFiles(map, mask, segments, stationary, refine)
    settings = MeshSettings(
        cells=cells,
        fuse=fuse or "",
        rigid=_numbers(rigid),
        stiffen=stiffen,
        minimum_weight=0.5 if minimum_weight is None else minimum_weight,
        separate=separate,
    )
    report = make_mesh(files, settings) if source is None else inspect_mesh(source, files, settings)
    make_folder(out.parent)
    save_mesh(out, report.labelled)
    picture = out.with_suffix(".png")
    write_mesh_picture(picture, report.labelled, report.grid, report.density)
    if product is not None:
        export_mesh(product, report)
        if bool(report.mesh.fixed.any()):
            typer.echo(
                "warning: cryoSPARC's mesh has no fixed vertices; make the stationary region a rigid segment there"
            )
    for line in _describe(report, settings):
        typer.echo(line)
    typer.echo(f"mesh: {out}, picture: {picture}" + (f", for cryoSPARC: {product}" if product is not None else ""))


def _refuse_building(*options: object) -> None:
    """A mesh from a file is taken as it is."""
    if any(option not in (None, False) for option in options):
        raise UsageError(
            "mesh.options",
            "a mesh from a file is not built again",
            expected="with --from, only --mask, --rigid, --stationary and --product",
            fix="leave out --from, or the options that build",
        )


def _describe(report: MeshReport, settings: MeshSettings) -> list[str]:
    from dynaflex.mesh.fuse import shared_vertices
    from dynaflex.mesh.segments import format_connections

    mesh, labels = report.mesh, report.labelled.labels_on(report.grid)
    lines = [
        f"{len(mesh.vertices)} vertices, {len(mesh.cells)} cells, edges of {mesh.edge_length():.1f} Å on average, "
        f"weights {float(mesh.weights.min()):.2f} to {float(mesh.weights.max()):.2f}"
    ]
    if bool(mesh.fixed.any()):
        lines.append(f"{int(mesh.fixed.sum())} vertices never move")
    for segment in mesh.segment.unique().tolist() if labels is not None else []:
        rigid = ", rigid" if segment in settings.rigid else ""
        cells = int((mesh.segment == segment).sum())
        lines.append(f"segment {segment}: {int((labels == segment).sum())} voxels, {cells} cells{rigid}")
    for contact in report.touching:
        shared = shared_vertices(mesh, contact.pair)
        joined = f"fused at {shared} vertices" if shared else "not fused"
        lines.append(f"contact {contact.pair[0]} with {contact.pair[1]}: {contact.area:.0f} Å², {joined}")
    if report.touching:
        lines.append(f'suggested from the density at contacts: --fuse "{format_connections(report.suggestion)}"')
    return lines + [f"warning: {warning}" for warning in report.warnings]


def _numbers(text: str | None) -> tuple[int, ...]:
    try:
        return () if text is None else tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            "usage.rigid", f"--rigid cannot be {text!r}", expected="segments with commas, like 0,3"
        ) from error
