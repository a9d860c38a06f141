"""``reconstruct``, ``volumes``, ``displacements`` and ``fsc``: after training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from dynaflex.cli.moved import MovedImages, MovedMap, MovedMask, MovedParticles, MovedPrefix
from dynaflex.cli.options import AsJson, Device, Half, RunFolder, Threads
from dynaflex.config import RunConfig, Solver
from dynaflex.errors import UsageError
from dynaflex.prepare.device import pick_device, with_threads
from dynaflex.prepare.paths import AUTO

_PARTICLES = "From the particles themselves"


def reconstruct_command(
    run: RunFolder,
    solver: Annotated[Solver, typer.Option(help=RunConfig.model_fields["solver"].description)] = "iterative",
    box: Annotated[
        int | None, typer.Option(help="Fourier-cropped box of the maps; default that of the images.")
    ] = None,
    field: Annotated[
        Literal["decoder", "inverse"],
        typer.Option(help="Gather where the decoder sends each point, or along its learned inverse."),
    ] = "decoder",
    symmetry: Annotated[
        str, typer.Option(help="Imposed on the finished half-maps: C4, D2, T, O, I (RELION's axes).")
    ] = "C1",
    b_factor: Annotated[
        float | None, typer.Option(help="Å²; a negative one sharpens the merged map. The half-maps stay as they are.")
    ] = None,
    particles: MovedParticles = None,
    map: MovedMap = None,
    mask: MovedMask = None,
    datadir: MovedImages = None,
    strip_prefix: MovedPrefix = None,
    device: Device = "auto",
    threads: Threads = None,
    cache: Annotated[
        str,
        typer.Option("--cache", metavar="DIR|off", help="Images made ready in DIR; default those of the run, if any."),
    ] = AUTO,
) -> None:
    """Rebuild the half-maps of a trained run, corrected and rigid."""
    from dynaflex.cli.typed import again
    from dynaflex.prepare.memory import ready
    from dynaflex.report.reported import reported
    from dynaflex.results import maps
    from dynaflex.results.reopen import Moved, remember, reopened
    from dynaflex.results.settings import open_run
    from dynaflex.run.monitor import shown
    from dynaflex.run.stop import stoppable
    from dynaflex.workers.halves import Halves

    opened = open_run(run)
    with shown(), with_threads(threads), stoppable(run, "give the same command again") as stop, opened.locked():
        # What is refused at the door leaves the run as it was, its report too.
        there = pick_device(device)
        inputs = reopened(opened, Moved(particles, map, mask, datadir, strip_prefix))
        remember(opened, inputs)
        inputs = ready(cache, opened, inputs)
        with reported(opened, again()), Halves(opened, stop, there) as halves:
            maps.reconstruct_run(
                opened,
                inputs,
                there,
                halves.each,
                solver=solver,
                field=field,
                box=box,
                symmetry=symmetry,
                b_factor=b_factor,
            )
    typer.echo(f"done: {opened.maps}")


def volumes_command(
    run: RunFolder,
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory to write to.")],
    particles: Annotated[str | None, typer.Option(help="Rows of the input table from 0: 0,5,9.")] = None,
    latents: Annotated[Path | None, typer.Option(help="Latent vectors (n, K), .npy.")] = None,
    axis: Annotated[int | None, typer.Option(help="Principal axis of the latents, from 1.")] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Maps along --axis; default 41, with --from-particles 9.")
    ] = None,
    path: Annotated[Path | None, typer.Option(help="A path through latent space (n, K), .npy.")] = None,
    half: Annotated[Half | None, typer.Option(help="Whose model; default 1, for --particles each one's own.")] = None,
    map: Annotated[
        Literal["merged", "half"],
        typer.Option(help="What is carried: the merged map, or each half's own by its own model, both of them."),
    ] = "merged",
    from_particles: Annotated[
        bool,
        typer.Option(
            "--from-particles",
            rich_help_panel=_PARTICLES,
            help="Beside each map one of the particles nearest to it, without the model's motion, and a table.",
        ),
    ] = False,
    nearest: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=_PARTICLES,
            min=20,
            help="How many particles of each half; default a tenth, between 20 and 5,000.",
        ),
    ] = None,
    datadir: MovedImages = None,
    strip_prefix: MovedPrefix = None,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Write conformations as maps, on one grey scale, with a ChimeraX script."""
    import torch

    from dynaflex.io.arrays import read_vectors
    from dynaflex.palettes import CORRECTED
    from dynaflex.products.chimerax.script import SCRIPT, Played, write_script
    from dynaflex.products.from_particles import FromParticles, write_from_particles
    from dynaflex.products.surroundings import Surroundings, write_each_half
    from dynaflex.results import volumes
    from dynaflex.results.reopen import Moved, reopened
    from dynaflex.results.settings import open_run
    from dynaflex.results.trained import load_half
    from dynaflex.run.monitor import shown
    from dynaflex.run.results import replaced

    given = [option is not None for option in (particles, latents, axis, path)]
    if sum(given) != 1:
        raise UsageError(
            "volumes.what", "say which conformations", expected="one of --particles --latents --axis --path"
        )
    if nearest is not None and not from_particles:
        raise UsageError("volumes.nearest", "--nearest says how many particles make a map", fix="add --from-particles")
    opened = open_run(run)
    halves = (1, 2) if half is None and particles is not None else (half or 1,)
    trained = [load_half(opened, number) for number in halves]
    if particles is not None:
        chosen = [volumes.conformation_of(trained, row) for row in _rows(particles)]
    elif axis is not None:
        mean = trained[0].latents.mean
        count = frames or (9 if from_particles else 41)
        chosen = [(trained[0], z) for z in volumes.along_axis(mean, volumes.from_one(axis, mean.shape[1]), count)]
    else:
        source = latents if latents is not None else path
        assert source is not None
        chosen = [(trained[0], z) for z in torch.from_numpy(read_vectors(source, trained[0].latents.mean.shape[1]))]
    made = table = None
    with shown(), with_threads(threads), replaced(out, "volumes") as folder:
        both = Surroundings(opened) if from_particles or map == "half" else None
        if both is not None and from_particles:
            inputs = reopened(opened, Moved(datadir=datadir, strip_prefix=strip_prefix))
            made = FromParticles(opened, inputs, both, chosen, pick_device(device), nearest)
        title = f"maps in {out.name}"
        if both is not None and map == "half":
            series = write_each_half(opened, both, chosen, folder, title)
        else:
            names = volumes.write_maps(opened, chosen, folder, title=title)
            series = [Played(names, volumes.level_at_rest(opened, trained[0]), CORRECTED)]
        if made is not None:
            table, series = write_from_particles(opened, made, series, folder)
        write_script(folder, series)
    if table is not None:
        typer.echo(table.to_string(index=False, float_format="%.3g", na_rep="-"))
    typer.echo(f"{len(chosen)} maps in {out}; open {out / SCRIPT} in ChimeraX")


def displacements_command(
    run: RunFolder,
    points: Annotated[Path, typer.Option(help="Points (P, 3) x y z in Å, origin at the box centre, .npy.")],
    particles: Annotated[str, typer.Option(help="Rows of the input table from 0: 0,5,9, or 'all'.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Output .npz.")],
    half: Annotated[Half | None, typer.Option(help="Whose model; default each particle's own.")] = None,
) -> None:
    """Where the model moves given points in given particles."""
    import numpy as np

    from dynaflex import tell
    from dynaflex.io import durable
    from dynaflex.io.arrays import read_vectors
    from dynaflex.results import trained
    from dynaflex.results.settings import open_run
    from dynaflex.run.monitor import shown

    where = read_vectors(points, 3)
    halves = trained.load_halves(open_run(run), half)
    rows = trained.rows_of(halves) if particles == "all" else _rows(particles)
    with shown(), tell.doing("displacements"):
        moved = trained.displacements_in(halves, where, rows)
    durable.make_folder(out.parent)
    durable.write_npz(out, points=where, displacement=moved, particles=np.asarray(rows))
    typer.echo(f"displacements of {len(where)} points in {len(rows)} particles in {out}")


def fsc_command(
    first: Annotated[Path, typer.Argument(help="Half-map 1, .mrc.")],
    second: Annotated[Path, typer.Argument(help="Half-map 2, .mrc.")],
    mask: Annotated[Path | None, typer.Option(help="Soft mask, .mrc.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fourier shell correlation of two maps: unmasked, masked, corrected by phase randomisation."""
    from dynaflex import tell
    from dynaflex.run.monitor import shown
    from dynaflex.validate.two_maps import compare_maps

    agreement = compare_maps(first, second, mask)
    with shown(results_only=as_json):
        for warning in agreement.warnings:
            tell.warn(warning)
    for line in [json.dumps(agreement.as_dict(), indent=2)] if as_json else agreement.lines():
        typer.echo(line)


def _rows(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(
            "usage.particles", f"--particles cannot be {text!r}", expected="whole numbers with commas, like 0,5,9"
        ) from error
