"""``reconstruct``: the maps of a run again, or those of one state from its own particles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dynaflex.cli.moved import MovedImages, MovedMap, MovedMask, MovedPrefix
from dynaflex.cli.options import Device, Gpus, Half, RunFolder, Threads
from dynaflex.config import RunConfig, Solver
from dynaflex.errors import UsageError
from dynaflex.prepare.device import pick_device, with_threads
from dynaflex.prepare.paths import AUTO
from dynaflex.products.names import ANALYSIS, K_MEANS, ClusterKind

if TYPE_CHECKING:
    from dynaflex.results.half_maps.made import Recipe
    from dynaflex.results.reopen import Moved
    from dynaflex.run.directory import Run
    from dynaflex.run.stop import Stop
    from dynaflex.workers.crew import Crew

_STATE = "One state, from its own particles alone"
_COLUMNS = {"rigid": "rigid", "deformed": "corrected", "combined": "with all particles"}
"""What a person calls the maps of a state, in the order of what they show."""


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
        str | None,
        typer.Option(help="Imposed on the finished half-maps: C4, D2, T, O, I (RELION's axes); default the run's."),
    ] = None,
    b_factor: Annotated[
        float | None, typer.Option(help="Å²; a negative one sharpens the merged map. The half-maps stay as they are.")
    ] = None,
    cluster: Annotated[
        int | None, typer.Option(rich_help_panel=_STATE, help="A cluster of dynaflex analyze, from 1.")
    ] = None,
    kind: Annotated[
        ClusterKind, typer.Option(rich_help_panel=_STATE, help="Which clusters: compact ones, or dense regions.")
    ] = K_MEANS,
    analysis: Annotated[
        Path | None, typer.Option(rich_help_panel=_STATE, help="Folder of dynaflex analyze; default RUN/analysis.")
    ] = None,
    around: Annotated[
        str | None,
        typer.Option(
            metavar="Z", rich_help_panel=_STATE,
            help="The particles around a place in latent space: 0.5,-1.2 or FILE.npy:ROW, rows from 0.",
        ),
    ] = None,
    half: Annotated[Half, typer.Option(rich_help_panel=_STATE, help="Whose latents --around are.")] = 1,
    nearest: Annotated[
        int | None,
        typer.Option(
            min=20, rich_help_panel=_STATE,
            help="How many particles of each half around Z; default a tenth, and all that cannot be told from Z.",
        ),
    ] = None,
    particles: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_STATE,
            help="A table with some of the run's particles, or a list of rows from 0 (.txt, .npy). A table with all of "
            "them is the run's own, where it is now: then it is no state.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", rich_help_panel=_STATE, help="Directory; default RUN/states/NAME.")
    ] = None,
    map: MovedMap = None,
    mask: MovedMask = None,
    datadir: MovedImages = None,
    strip_prefix: MovedPrefix = None,
    device: Device = "auto",
    gpus: Gpus = None,
    threads: Threads = None,
    cache: Annotated[
        str,
        typer.Option("--cache", metavar="DIR|off", help="Images made ready in DIR; default those of the run, if any."),
    ] = AUTO,
) -> None:  # fmt: skip
    """Rebuild the half-maps of a trained run, corrected and rigid, or make those of one state."""
    from dynaflex.products.states.asked import Asked, reconstruct_state
    from dynaflex.products.states.written import SCRIPT
    from dynaflex.report.reported import rewrite
    from dynaflex.results.half_maps.made import Recipe
    from dynaflex.results.reopen import Moved
    from dynaflex.results.settings import open_run
    from dynaflex.run.monitor import shown
    from dynaflex.run.stop import stoppable
    from dynaflex.workers.crew import crew_of
    from dynaflex.workers.process import followed

    if followed():
        return
    opened, recipe = open_run(run), Recipe(solver, field, box, symmetry, b_factor)
    with (
        shown(), with_threads(threads), crew_of(gpus, device) as crew,
        stoppable(run, "give the same command again") as stop,
    ):  # fmt: skip
        said = Asked(cluster, kind, analysis or run / ANALYSIS, _place(around), half, nearest)
        asked, table = said.understood(opened, particles)
        moved = Moved(table, map, mask, datadir, strip_prefix)
        if asked is not None:
            there = pick_device(device)
            found, folder = reconstruct_state(opened, asked, moved, recipe, out, there, stop, cache, crew)
            if out is None:
                with opened.locked():
                    rewrite(opened)
            lines = [*_lines(found), f"state: {folder}; open {folder / SCRIPT} in ChimeraX"]
        elif out is not None:
            raise UsageError(
                "state.which", "the maps of the whole run lie in the run", field="-o",
                expected="one of --cluster --around, or --particles with some of the run's particles",
                fix="leave out -o, or say which state",
            )  # fmt: skip
        else:
            lines = _whole_run(opened, stop, moved, recipe, device, cache, crew)
    for line in lines:
        typer.echo(line)


def _whole_run(
    run: Run, stop: Stop, moved: Moved, recipe: Recipe, device: str, cache: str, crew: Crew | None
) -> list[str]:
    from dynaflex.cli.typed import again
    from dynaflex.prepare.before_training import require_shareable
    from dynaflex.prepare.memory import ready
    from dynaflex.report.reported import reported
    from dynaflex.results import maps
    from dynaflex.results.reopen import remember, reopened
    from dynaflex.workers.halves import Halves

    with run.locked():
        # What is refused at the door leaves the run as it was, its report too.
        there = pick_device(device)
        inputs = reopened(run, moved)
        require_shareable(inputs, crew is not None)
        remember(run, inputs)
        inputs = ready(cache, run, inputs, make=True)
        with reported(run, again()), Halves(run, stop, there, crew) as halves:
            maps.reconstruct_run(run, inputs, there, halves.each, recipe)
    return [f"done: {run.maps}"]


def _lines(said: dict[str, Any]) -> list[str]:
    """What the state is, and what correcting its motion is worth, for people."""
    one, two = said["particles"].values()
    images = sum(said["images"].values())
    seen = "" if images == one + two else f" in {images:,} images"
    known = said["particle_error_A"]
    lines = [
        f"{said['what']}: {one + two:,} particles{seen}, {one:,} of half 1 and {two:,} of half 2",
        f"they lie {said['rms_distance_A']:.2g} Å rms and at most {said['largest_distance_A']:.2g} Å of motion from "
        f"their mean; those of the halves are {said['halves_apart_A']:.2g} Å apart"
        + (f"; a particle is known to {known:.2g} Å" if known else ""),
    ]
    columns = {kind: title for kind, title in _COLUMNS.items() if kind in said["resolution"]}
    lines.append(f"{'FSC 0.143':<16}" + "".join(f"{title:>20}" for title in columns.values()))
    parts = {"molecule": said["resolution"], "moving part": said["moving_part"]}
    found = {name: [curves[kind]["0.143"] for kind in columns] for name, curves in parts.items() if curves}
    for name, values in found.items():
        lines.append(f"{name:<16}" + "".join(f"{_resolution(value):>20}" for value in values))
    if any(None in values for values in found.values()):
        limit = said["claim_limit"]
        shared = f" that is finer than the {limit:.3g} Å which the halves had in common" if limit else ""
        lines.append(f"-: no agreement{shared}")
    return lines


def _resolution(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} Å"


def _place(text: str | None) -> tuple[Path, int] | list[float] | None:
    """Where in latent space, as it is typed: numbers, or a row of a file."""
    if text is None:
        return None
    name, colon, row = text.rpartition(":")
    try:
        if text.endswith(".npy"):
            return Path(text), 0
        return (Path(name), int(row)) if colon else [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(
            "state.place",
            f"--around cannot be {text!r}",
            expected="numbers with commas, like 0.5,-1.2, or FILE.npy:ROW",
        ) from error
