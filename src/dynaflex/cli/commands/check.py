"""``check``: what is wrong, before a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynaflex.cli import inputs
from dynaflex.cli.options import AsJson, Cache, Device, Threads
from dynaflex.cli.planned import advice, print_plans, usual_methods
from dynaflex.cli.settings import read_settings, with_common_settings
from dynaflex.cli.words import counted, described, typable
from dynaflex.config import RunConfig
from dynaflex.errors import InputError, UsageError
from dynaflex.prepare.device import use_one_thread
from dynaflex.prepare.paths import AUTO, InputPaths
from dynaflex.training.installed import names

if TYPE_CHECKING:
    from dynaflex.checking.readings import Comparison
    from dynaflex.costs.plan import Plan

_ROWS = 12
_PLAN = "Measure what a run takes: hours, memory, disk. Needs --map; a minute or two, and nothing is written."
_METHOD = "Of which method; default all that need no other file, beside each other."
_CONFIG = "Settings of that method from a TOML file, as its own --config."


@with_common_settings(without=("class_number", "invert_contrast"))
def check_command(
    particles: Annotated[Path, typer.Argument(help="RELION STAR or cryoSPARC .cs file.")],
    map: Annotated[Path | None, typer.Option("--map", help="Consensus map, .mrc: scores the table's readings.")] = None,
    mask: Annotated[Path | None, typer.Option("--mask", help="Mask, .mrc.")] = None,
    datadir: inputs.ImageFolder = None,
    strip_prefix: inputs.Prefix = None,
    class_number: Annotated[int | None, typer.Option("--class", help="Take only this class of particles.")] = None,
    invert_contrast: Annotated[bool, typer.Option("--invert-contrast", help="For particles that are black.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help=_PLAN)] = False,
    method: Annotated[str | None, typer.Option("--method", metavar="NAME", help=_METHOD)] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help=_CONFIG)] = None,
    device: Device = "auto",
    threads: Threads = None,
    cache: Cache = AUTO,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Read everything, compare it, score the table against the images, and say what is wrong before any training.

    With --plan also how long a run takes here, and how much memory and disk: settings below are those of that run.
    """
    from dynaflex.checking.check import check_files
    from dynaflex.prepare.device import with_threads
    from dynaflex.run.monitor import shown

    use_one_thread()
    as_planned = {"--config": config, **{RunConfig.option_name(name): value for name, value in settings.items()}}
    asked = {"--method": method, **as_planned}
    _require_plan(plan, map, [name for name, value in asked.items() if value is not None])
    with shown(results_only=as_json):
        findings = check_files(
            particles,
            map,
            mask,
            datadir=datadir,
            strip_prefix=strip_prefix,
            class_number=class_number,
            invert_contrast=invert_contrast,
        )
    report = findings.report
    plans: list[Plan] = []
    if plan and report.ok and map is not None:
        paths = InputPaths(particles, map, mask, datadir=datadir, strip_prefix=strip_prefix)
        settings |= {"class_number": class_number, "invert_contrast": invert_contrast}
        with shown(results_only=as_json), with_threads(threads):
            chosen = usual_methods() if method is None else [method]
            plans = [_planned(name, paths, config, settings, device, cache) for name in chosen]
    if as_json:
        told = {"plans": {one.method: one.as_dict() for one in plans}} if plan else {}
        typer.echo(json.dumps({**findings.as_dict(), **told}, indent=2))
    else:
        for line in described(report.facts):
            typer.echo(line)
        if findings.comparison is not None:
            _print_readings(findings.comparison, "image" if "tilt_images" in report.facts else "particle")
        elif map is None:
            typer.echo("not compared with a map: --map scores the table against the images")
        if findings.leaks is not None:
            typer.echo(
                f"copies across the half-sets: {len(findings.leaks.copies):,} in {findings.leaks.images:,} images"
            )
        for warning in report.warnings:
            typer.echo(f"warning: {warning}")
        for problem in report.problems:
            typer.echo(f"error: {problem}")
        typer.echo("nothing wrong found" if report.ok else counted(len(report.problems), "problem"))
        if plans:
            print_plans(plans)
            for line in advice(plans):
                typer.echo(line)
        if report.ok:
            given = {
                "--map": map,
                "--mask": mask,
                "--datadir": datadir,
                "--strip-prefix": strip_prefix,
                "--class": class_number,
                "--invert-contrast": invert_contrast or None,
                "--device": None if device == "auto" else device,
                "--threads": threads,
                "--cache": None if cache == AUTO else cache,
                **as_planned,
            }
            typer.echo(f"next: {_next(particles, given, method)}")
    if not report.ok:
        raise typer.Exit(InputError.exit_code)


def _require_plan(plan: bool, map: Path | None, typed: list[str]) -> None:
    """Refuse a plan of nothing, and settings of a run that is not planned."""
    if plan and map is None:
        raise UsageError("check.plan-map", "a run is planned with its map", field="--plan", fix="add --map MAP.mrc")
    if typed and not plan:
        raise UsageError(
            "check.no-plan", "this is a setting of a run, and no run is planned", field=typed[0], fix="add --plan"
        )


def _planned(name: str, paths: InputPaths, file: Path | None, typed: dict[str, Any], device: str, cache: str) -> Plan:
    """What a run of one method takes, with the settings of a ``file`` and those that were ``typed``, which win."""
    from dynaflex.config import configuration
    from dynaflex.planning.measure import Asked, planned
    from dynaflex.prepare.device import pick_device
    from dynaflex.training.installed import method_named

    method = method_named(name)
    values = {**({} if file is None else read_settings(file, method.config)), **typed}
    settings = configuration(method.config, values, method.config.option_name)
    return planned(Asked(method, paths, settings, pick_device(device), cache, Path("run")))


def _next(particles: Path, given: Mapping[str, object], method: str | None) -> str:
    """What to type when all is well: the check with a map, if there was none, or the run that was planned."""
    options: list[object] = []
    for name, value in given.items():
        if value is not None:
            options += [name] if value is True else [name, value]
    if given["--map"] is None:
        return f"{typable('dynaflex', 'check', particles, *options)} --map MAP.mrc --mask MASK.mrc"
    return typable("dynaflex", method or names()[0], particles, *options, "-o", "run")


def _print_readings(comparison: Comparison, thing: str) -> None:
    """A table of the best readings, the one as given and chance, and what it means."""
    from dynaflex.checking.check import HAND, ranked, verdict

    rows = [score for score in ranked(comparison) if not score.same or score is comparison.given]
    shown = [s for i, s in enumerate(rows) if i < _ROWS or s in (comparison.given, comparison.control)]
    typer.echo(f"readings of the table, on {counted(comparison.particles, thing)}:")
    typer.echo("  correlation       z  against given  reading")
    for score in shown:
        gain = "" if score is comparison.given else f"{score.gain:+.1f}"
        typer.echo(f"  {score.correlation:+11.4f}  {score.z:6.1f}  {gain:>13}  {score.name}")
    more = [score for score in comparison.others if score not in shown and not score.same]
    if more:
        typer.echo(f"  and {len(more)} more that fit worse (--json lists all)")
    untold = [score.name for score in comparison.untold if not score.same]
    if untold and comparison.better is None:
        typer.echo(f"  as good as the one as given: {', '.join(untold)}")
    same = [score.name for score in comparison.others if score.same]
    if same:
        typer.echo(f"  the same for these particles: {', '.join(same)}")
    typer.echo(f"verdict: {verdict(comparison)}")
    typer.echo(HAND)
