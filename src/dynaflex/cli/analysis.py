"""``analyze``, ``select``, ``score``, ``export`` and ``validate``: what a finished run says, and handing it on."""

from __future__ import annotations

import json
import math
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from dynaflex import tell
from dynaflex.analyze.embedding import require_umap
from dynaflex.cli.moved import MovedImages, MovedMap, MovedMask, MovedParticles
from dynaflex.cli.options import choice, pick_device
from dynaflex.errors import DynaflexError, UsageError
from dynaflex.pipelines.analysis import selection
from dynaflex.pipelines.analysis.analyse import (
    DENSITY,
    K_MEANS,
    Analysis,
    analyse,
    motion_row,
    read_model,
    write_analysis,
)
from dynaflex.pipelines.analysis.controls import VALIDATION, record_of, run_controls
from dynaflex.pipelines.analysis.handover import PROGRAMS, export
from dynaflex.pipelines.analysis.scoring import score_run
from dynaflex.pipelines.reopen import Moved
from dynaflex.report.analysis import write_figures
from dynaflex.report.conformations import carry_surface
from dynaflex.report.html import write_report
from dynaflex.report.movie import without_mp4, write_movie
from dynaflex.run.directory import Run
from dynaflex.run.monitor import shown


def analyze_command(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Directory to write to; default RUN/analysis.")
    ] = None,
    clusters: Annotated[int, typer.Option(help="Compact clusters to sort the particles into.")] = 6,
    frames: Annotated[int, typer.Option(help="Conformations in each series.")] = 11,
    half: Annotated[int, typer.Option(help="Whose model makes the series, 1 or 2.")] = 1,
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
    # Torch's threads wait for each other on tensors of this size; see pick_device.
    torch.set_num_threads(1)
    for option, value, least in (("--clusters", clusters, 1), ("--frames", frames, 2)):
        if value < least:
            raise UsageError("analyze.too-few", f"{option} cannot be {value}", expected=f"at least {least}")
    if half not in (1, 2):
        raise UsageError("usage.half", f"no half {half}", expected="1 or 2")
    if umap:
        require_umap()
    opened = Run.open(run)
    folder = run / "analysis" if out is None else out
    atoms = None if model is None else read_model(opened, model)
    with shown(), _writing(opened, out is None):
        found = analyse(opened, half=half, clusters=clusters, frames=frames, with_umap=umap, segments=segments)
        write_analysis(found, folder, atoms)
        with tell.doing("figures"):
            write_figures(found, folder / "figures")
        if movies:
            _draw_movies(found, folder)
    for line in _lines(found, folder):
        typer.echo(line)


def _writing(run: Run, inside: bool) -> AbstractContextManager[None]:
    """Hold the run while something is written into it."""
    return run.locked() if inside else nullcontext()


def _draw_movies(found: Analysis, folder: Path) -> None:
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
    return [*lines, f"analysis: {folder}; in ChimeraX open {folder / (found.series[0].name + '.cxc')}"]


def select_command(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Table to write, .star.")],
    cluster: Annotated[int | None, typer.Option(help="A cluster of dynaflex analyze, from 1.")] = None,
    kind: Annotated[str, typer.Option(help="Which clusters: 'kmeans' or 'density'.")] = "kmeans",
    polygon: Annotated[Path | None, typer.Option(help="Corners of an outline: two numbers a line, or JSON.")] = None,
    axes: Annotated[
        str | None, typer.Option(help="The outline's plane: 'motion' (Å; default), 'pca', 'latent' or 'umap'.")
    ] = None,
    particles: Annotated[Path | None, typer.Option(help="Rows of the input table from 0, one a line.")] = None,
    latents: Annotated[
        list[str] | None, typer.Option(help="AXIS:LOW:HIGH, a range of a latent; repeat for several axes from 0.")
    ] = None,
    half: Annotated[int | None, typer.Option(help="Whose latents, 1 or 2, where each half has its own.")] = None,
    analysis: Annotated[Path | None, typer.Option(help="Folder of dynaflex analyze; default RUN/analysis.")] = None,
) -> None:
    """Write a subset of the particles as a lossless copy of the input table: only rows are left out."""
    if sum(given is not None for given in (cluster, polygon, particles, latents or None)) != 1:
        raise UsageError(
            "select.what", "say which particles", expected="one of --cluster --polygon --particles --latents"
        )
    choice("--kind", kind, (K_MEANS, DENSITY))
    if half not in (None, 1, 2):
        raise UsageError("usage.half", f"no half {half}", expected="1 or 2")
    opened, folder = Run.open(run), run / "analysis" if analysis is None else analysis
    if cluster is not None:
        rows = selection.in_cluster(folder, kind, cluster)
    elif polygon is not None:
        rows = selection.in_outline(opened, folder, selection.read_outline(polygon, axes, half))
    elif particles is not None:
        rows = selection.read_rows(particles)
    else:
        rows = selection.in_ranges(opened, latents or [], half)
    kept, total = selection.write_subset(opened, rows, out)
    typer.echo(f"{kept} of {total} particles in {out}")


def score_command(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    truth: Annotated[Path, typer.Option(help="truth.npz of dynaflex simulate.")],
    images: Annotated[int, typer.Option(help="Particles of each half for the FSC per image.")] = 50,
    ideal: Annotated[
        bool, typer.Option("--ideal", help="Reconstruct with the true motion too: what could be reached at best.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print for machines.")] = False,
    particles: MovedParticles = None,
    map: MovedMap = None,
    mask: MovedMask = None,
    datadir: MovedImages = None,
) -> None:
    """How well a run recovered a known motion: latents, displacements and maps against the truth of a simulation."""
    torch.set_num_threads(1)
    if images < 1:
        raise UsageError("score.too-few", f"--images cannot be {images}", expected="at least 1")
    opened = Run.open(run)
    with shown(results_only=as_json), _writing(opened, ideal):
        scores = score_run(opened, truth, images, ideal, Moved(particles, map, mask, datadir))
    if as_json:
        typer.echo(json.dumps(_plain(scores), indent=2))
        return
    typer.echo(f"{'score':<32}{'half 1':>10}{'half 2':>10}")
    halves = [_flat(scores[f"half{half}"]) for half in (1, 2)]
    for name in halves[0]:
        typer.echo(f"{name:<32}" + "".join(f"{_shown(half[name]):>10}" for half in halves))


def _plain(value: Any) -> Any:
    """The same without numbers that JSON does not know."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(scores: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Scores by name; members of lists and of tables have names of their own."""
    flat: dict[str, float] = {}
    for name, value in scores.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name} ")
        elif isinstance(value, list):
            flat |= {f"{prefix}{name} {i}": one for i, one in enumerate(value)}
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _shown(value: float) -> str:
    return "-" if not math.isfinite(value) else f"{value:.0f}" if isinstance(value, int) else f"{value:.4f}"


def export_command(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    to: Annotated[str, typer.Option("--to", help="'relion', 'cryosparc' or 'chimerax'.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Directory; default RUN/export/PROGRAM.")] = None,
) -> None:
    """Hand a run over to another program: tables, half-maps and scripts under the names that it expects."""
    torch.set_num_threads(1)
    choice("--to", to, PROGRAMS)
    opened, folder = Run.open(run), run / "export" / to if out is None else out
    with shown(), _writing(opened, out is None):
        todo = export(opened, to, folder)
    for line in [*todo, f"export: {folder}"]:
        typer.echo(line)


def validate_command(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    most: Annotated[int, typer.Option("--most", help="Held-out particles to test the motion on, at most.")] = 300,
    particles: MovedParticles = None,
    map: MovedMap = None,
    mask: MovedMask = None,
    datadir: MovedImages = None,
    device: Annotated[str, typer.Option(help="'auto', 'cpu' or 'cuda'.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print for machines.")] = False,
) -> None:
    """Controls: would this motion be found if it were not there? Exit code 1 if one fails. The report shows all."""
    if most < 2:
        raise UsageError("validate.too-small", f"--most cannot be {most}", expected="at least 2")
    opened = Run.open(run)
    with shown(results_only=as_json):
        controls = run_controls(opened, pick_device(device), most, Moved(particles, map, mask, datadir))
        record = record_of(controls)
        _keep(opened, record)
    failed = record["failed"]
    if as_json:
        typer.echo(json.dumps(record, indent=2))
    else:
        for one in controls:
            against = "± " if one.unit.startswith("nats") else "chance "
            typer.echo(f"{one.verdict}  {one.name:<26}{one.value:+9.3f} ({against}{one.chance:.3f}) {one.unit}")
            typer.echo(f"      {one.words}")
        typer.echo(f"{len(controls) - failed} of {len(controls)} controls did not fail")
    if failed:
        raise typer.Exit(1)


def _keep(run: Run, record: dict[str, Any]) -> None:
    """The verdicts in the run, and in its report. A run that cannot be written to keeps none, which is said."""
    try:
        with run.locked():
            run.write_json(VALIDATION, record)
            with tell.doing("report"):
                write_report(run.path)
    except DynaflexError as error:
        tell.warn(f"the run does not keep these verdicts: {error}")
