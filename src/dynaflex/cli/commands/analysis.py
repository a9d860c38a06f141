"""``analyze``, ``select`` and ``export``: what a finished run says, in parts, and handed on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dynaflex.cli.options import Half, RunFolder, held_for
from dynaflex.errors import UsageError
from dynaflex.prepare.device import use_one_thread
from dynaflex.products.names import ANALYSIS, K_MEANS, ClusterKind, Plane, Program

if TYPE_CHECKING:
    from dynaflex.products.analyse import Analysis


def analyze_command(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Directory to write to; default RUN/analysis.")
    ] = None,
    clusters: Annotated[int, typer.Option(help="Compact clusters to sort the particles into.")] = 6,
    frames: Annotated[int, typer.Option(help="Conformations in each series.")] = 11,
    half: Annotated[Half, typer.Option(help="Whose model makes the series.")] = 1,
    segments: Annotated[
        Path | None, typer.Option(help="Domains: a whole number per voxel, .mrc; default those of the mesh, or found.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Atomic model fitted into the map, .pdb or .cif, to move.")] = None,
    umap: Annotated[
        bool, typer.Option("--umap", help="Lay the particles out with UMAP too (needs umap-learn).")
    ] = False,
    movies: Annotated[bool, typer.Option("--movies/--no-movies", help="Draw each series: frames, GIF, MP4.")] = True,
) -> None:
    """What the particles do: components, clusters, series of maps, motion per domain, figures, movies, for ChimeraX."""
    from dynaflex import tell
    from dynaflex.analyze.axes import require_umap
    from dynaflex.products.analyse import analyse, read_model, write_analysis
    from dynaflex.report.analysis import write_figures
    from dynaflex.results.settings import open_run
    from dynaflex.run.monitor import shown
    from dynaflex.run.results import replaced

    use_one_thread()
    for option, value, least in (("--clusters", clusters, 1), ("--frames", frames, 2)):
        if value < least:
            raise UsageError("analyze.too-few", f"{option} cannot be {value}", expected=f"at least {least}")
    if umap:
        require_umap()
    opened = open_run(run)
    folder = run / ANALYSIS if out is None else out
    atoms = None if model is None else read_model(opened, model)
    with shown(), held_for(opened, writing=out is None):
        found = analyse(opened, half=half, clusters=clusters, frames=frames, with_umap=umap, segments=segments)
        with replaced(folder, ANALYSIS) as staging:
            write_analysis(found, staging, atoms)
            with tell.doing("figures"):
                write_figures(found, staging / "figures")
            if movies:
                _draw_movies(found, staging)
    for line in _lines(found, folder):
        typer.echo(line)


def _draw_movies(found: Analysis, folder: Path) -> None:
    import torch

    from dynaflex import tell
    from dynaflex.report.drawing.conformations import carry_surface
    from dynaflex.report.drawing.movie import without_mp4, write_movie

    without = without_mp4()
    if without is not None:
        tell.say(without)
    for series in found.series:
        surface = carry_surface(found.run, found.trained, torch.from_numpy(series.latents).float())
        total = len(series.latents)

        def drawn(count: int, task: str = f"movie of {series.title}", total: int = total) -> None:
            tell.progress(task, count, total)

        write_movie(surface, series.title, folder / series.name, drawn)


def _lines(found: Analysis, folder: Path) -> list[str]:
    """What was found, for people."""
    from dynaflex.products.analyse import motion_row
    from dynaflex.products.chimerax.script import SCRIPT

    axes = found.space.motion_axes
    shown = ", ".join(f"{share:.0%}" for share in axes.share[:4])
    lines = [f"motion components explain {shown} of the motion; the first moves {axes.variance[0] ** 0.5:.2f} Å rms"]
    for kind, words in (("kmeans", "compact clusters"), ("density", "dense regions")):
        counts = [f"{c.cluster}: {c.particles} (row {c.representative_row})" for c in found.clusters if c.kind == kind]
        lines.append(f"{words}, particles and who represents them: {'; '.join(counts) or 'none'}")
    lines.append(f"domains {found.domains.origin}")
    lines.append(f"{'series':<8}{'domain':>7}  {'seen from':<10}{'rotation':>9}{'translation':>13}{'rmsd':>9}  axis")
    for motion in found.motions:
        row = motion_row(motion)
        axis = [row[f"axis_{name}"] for name in "xyz"]
        about = "" if axis[0] is None else " ".join(f"{value:+.2f}" for value in axis)
        lines.append(
            f"{motion.series:<8}{motion.domain:>7}  {motion.frame:<10}{row['rotation_deg']:>8.1f}°"
            f"{row['translation_A']:>11.2f} Å{row['rmsd_A']:>7.2f} Å  {about}"
        )
    return [*lines, f"analysis: {folder}; in ChimeraX open {folder / found.series[0].name / SCRIPT}"]


def select_command(
    run: RunFolder,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Table to write, .star; .cs where the particles are cryoSPARC's.")
    ],
    cluster: Annotated[int | None, typer.Option(help="A cluster of dynaflex analyze, from 1.")] = None,
    kind: Annotated[ClusterKind, typer.Option(help="Which clusters: compact ones, or dense regions.")] = K_MEANS,
    polygon: Annotated[Path | None, typer.Option(help="Corners of an outline: two numbers a line, or JSON.")] = None,
    axes: Annotated[
        Plane | None, typer.Option(help="The outline's plane; default what the file says, or motion, in Å.")
    ] = None,
    particles: Annotated[Path | None, typer.Option(help="Rows of the input table from 0, one a line.")] = None,
    latents: Annotated[
        list[str] | None, typer.Option(help="AXIS:LOW:HIGH, a range of a latent; repeat for several axes from 1.")
    ] = None,
    half: Annotated[Half | None, typer.Option(help="Whose latents, where each half has its own.")] = None,
    analysis: Annotated[Path | None, typer.Option(help="Folder of dynaflex analyze; default RUN/analysis.")] = None,
) -> None:
    """Write a subset of the particles as a lossless copy of the input table: rows are left out, no digit changes.

    Halves that the run has drawn are added.
    """
    from dynaflex.products import selection
    from dynaflex.products.subset import write_subset
    from dynaflex.results.settings import open_run

    opened = open_run(run)
    rows = selection.chosen_rows(
        opened, run / ANALYSIS if analysis is None else analysis, cluster=cluster, kind=kind, half=half,
        outline=None if polygon is None else selection.read_outline(polygon, axes, half),
        particles=None if particles is None else selection.read_rows(particles),
        latents=selection.read_ranges(latents or []),
    )  # fmt: skip
    written = write_subset(opened, rows, out)
    one, two = written.halves
    typer.echo(f"{one + two} of {written.total} particles in {out}: {one} of half 1, {two} of half 2")
    if not one or not two:
        typer.echo(
            "warning: these are of one half, of no use to a refinement in two halves; a cluster, or an outline in "
            "--axes motion, is of both",
            err=True,
        )
    if written.project is not None and written.project.resolve() != Path.cwd():
        typer.echo(f"the names of images in it lead from {written.project}: start RELION there")


def export_command(
    run: RunFolder,
    to: Annotated[Program, typer.Option("--to", help="The program that is to read it.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Directory; default RUN/export/PROGRAM.")] = None,
    particles: Annotated[
        Path | None,
        typer.Option(help="cryoSPARC's .cs file of the same particles, where the run was made from a STAR file."),
    ] = None,
    path: Annotated[Path | None, typer.Option(help="For cryoSPARC: a path through latent space (n, K), .npy.")] = None,
    half: Annotated[Half, typer.Option(help="Whose latents the path goes through.")] = 1,
) -> None:
    """Hand a run over to another program: tables, half-maps and scripts under the names that it expects."""
    from dynaflex.io.arrays import read_vectors
    from dynaflex.products.cryosparc.handed import ForCryosparc
    from dynaflex.products.handover.export import export
    from dynaflex.results.settings import open_run
    from dynaflex.run.files import read_latents
    from dynaflex.run.monitor import shown
    from dynaflex.run.results import replaced

    use_one_thread()
    opened, folder = open_run(run), run / "export" / to if out is None else out
    with shown(), held_for(opened, writing=out is None), replaced(folder, to) as staging:
        frames = None if path is None else read_vectors(path, read_latents(opened).mean.shape[1])
        also = None if particles is None and path is None else ForCryosparc(particles, frames, half)
        todo = export(opened, to, staging, folder, also)
    for line in [*todo, f"export: {folder}"]:
        typer.echo(line)
