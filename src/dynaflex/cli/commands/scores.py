"""``score`` and ``validate``: how far a run can be believed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynaflex.cli.moved import MovedImages, MovedMap, MovedMask, MovedParticles, MovedPrefix
from dynaflex.cli.options import AsJson, Device, RunFolder, Threads, held_for
from dynaflex.cli.words import score_in_words
from dynaflex.errors import DynaflexError, UsageError
from dynaflex.prepare.device import pick_device, use_one_thread, with_threads

if TYPE_CHECKING:
    from dynaflex.run.directory import Run


def score_command(
    run: RunFolder,
    truth: Annotated[Path, typer.Option(help="truth.npz of dynaflex simulate.")],
    images: Annotated[int, typer.Option(help="Particles of each half for the FSC per image.")] = 50,
    ideal: Annotated[
        bool, typer.Option("--ideal", help="Reconstruct with the true motion too: what could be reached at best.")
    ] = False,
    latents: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Another program's latents of these particles, to score beside it; a file, or its folder.",
        ),
    ] = None,
    volumes: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="A folder of another program's maps, a particle each: those in rows.txt."),
    ] = None,
    as_json: AsJson = False,
    particles: MovedParticles = None,
    map: MovedMap = None,
    mask: MovedMask = None,
    datadir: MovedImages = None,
    strip_prefix: MovedPrefix = None,
) -> None:
    """How well a run recovered a known motion: latents, displacements and maps against the truth of a simulation."""
    from dynaflex.judge.peers import peer_scores
    from dynaflex.judge.scene import SimulatedScene
    from dynaflex.judge.scoring import score_run
    from dynaflex.results.reopen import Moved
    from dynaflex.results.settings import open_run
    from dynaflex.run.monitor import shown

    use_one_thread()
    if images < 1:
        raise UsageError("score.too-few", f"--images cannot be {images}", expected="at least 1")
    opened = open_run(run)
    with shown(results_only=as_json), held_for(opened, writing=ideal):
        peers = peer_scores(SimulatedScene.read(truth), latents or [], volumes or []) if latents or volumes else {}
        scores = score_run(opened, truth, images, ideal, Moved(particles, map, mask, datadir, strip_prefix))
    if peers:
        scores["peers"] = peers
    if as_json:
        typer.echo(json.dumps(_plain(scores), indent=2))
        return
    for line in _lines(scores):
        typer.echo(line)


def _lines(scores: dict[str, Any]) -> list[str]:
    """The scores of both halves and of others, side by side."""
    columns = {f"half {half}": _flat(scores[f"half{half}"]) for half in (1, 2)}
    columns |= {path: _flat(found) for path, found in scores.get("peers", {}).items()}
    names = {name: score_in_words(name) for name in dict.fromkeys(name for one in columns.values() for name in one)}
    width = max(map(len, names.values()))
    wide = {title: max(10, len(title) + 2) for title in columns}
    rows = [
        f"{words:<{width}}" + "".join(f"{_shown(columns[title].get(name, math.nan)):>{wide[title]}}" for title in wide)
        for name, words in names.items()
    ]
    return [f"{'score':<{width}}" + "".join(f"{title:>{size}}" for title, size in wide.items()), *rows]


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
            flat |= {f"{prefix}{name} {i}": one for i, one in enumerate(value, 1)}
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _shown(value: float) -> str:
    return "-" if not math.isfinite(value) else f"{value:.0f}" if isinstance(value, int) else f"{value:.3f}"


def validate_command(
    run: RunFolder,
    most: Annotated[int, typer.Option(help="Held-out particles to test the motion on, at most.")] = 300,
    particles: MovedParticles = None,
    map: MovedMap = None,
    mask: MovedMask = None,
    datadir: MovedImages = None,
    strip_prefix: MovedPrefix = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Controls: would this motion be found if it were not there? Exit code 1 if one fails. The report shows all."""
    from dynaflex.judge.validation import record_of, run_controls
    from dynaflex.results.reopen import Moved
    from dynaflex.results.settings import open_run
    from dynaflex.run.monitor import shown

    if most < 2:
        raise UsageError("validate.too-small", f"--most cannot be {most}", expected="at least 2")
    opened = open_run(run)
    with shown(results_only=as_json), with_threads(threads):
        controls = run_controls(opened, pick_device(device), most, Moved(particles, map, mask, datadir, strip_prefix))
        record = record_of(controls)
        _keep(opened, record)
    failed = record["failed"]
    if as_json:
        typer.echo(json.dumps(record, indent=2))
    else:
        for one in controls:
            against = "± " if one.has_error else "chance "
            typer.echo(f"{one.verdict}  {one.name:<26}{one.value:+9.3f} ({against}{one.chance:.3f}) {one.unit}")
            typer.echo(f"      {one.words}")
        typer.echo(f"{len(controls) - failed} of {len(controls)} controls did not fail")
    if failed:
        raise typer.Exit(1)


def _keep(run: Run, record: dict[str, Any]) -> None:
    """The verdicts in the run, and in its report. A run that cannot be written to keeps none, which is said."""
    from dynaflex import tell
    from dynaflex.judge.validation import VALIDATION
    from dynaflex.report.html import write_report

    try:
        with run.locked():
            run.write_json(VALIDATION, record)
            with tell.doing("report"):
                write_report(run.path)
    except DynaflexError as error:
        tell.warn(f"the run does not keep these verdicts: {error}")
