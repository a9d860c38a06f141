"""Laws of the report of a run that ended early: it says where and how to go on, and changes nothing about the end."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from dynaflex import pipeline
from dynaflex.report import reported, views
from dynaflex.results import maps, table
from dynaflex.training.steps import Steps

Brief = Callable[..., tuple[Path, Any]]
Command = Callable[..., Any]


def after(calls: int, then: Callable[[], None], of: Callable[..., Any]) -> Callable[..., Any]:
    """The function, but ``then`` happens once, before the given call of it."""
    left = [calls]

    def called(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            then()
        return of(*arguments, **options)

    return called


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def fail() -> None:
    raise ZeroDivisionError("a <fault> in the program")


def strike(monkeypatch: pytest.MonkeyPatch, where: str, what: Callable[[], None]) -> None:
    """Let something happen at a stage of the next run."""
    if where.startswith("while it was prepared"):
        monkeypatch.setattr(pipeline, "write_star", after(1, what, pipeline.write_star))
    elif where.startswith("before"):
        monkeypatch.setattr(Steps, "take", after(2, what, Steps.take))
    elif where.startswith("in the training"):
        # Five or so updates are an epoch of the 54 particles that a half trains on, eight at a time.
        monkeypatch.setattr(Steps, "take", after(17, what, Steps.take))
    else:
        monkeypatch.setattr(maps, "reconstruct_run", after(1, what, maps.reconstruct_run))


def resume_of(page: str) -> list[str]:
    """The command that a page gives, as a shell would take it apart."""
    notice = page[page.index('<section class="box warnings">') :]
    text = notice[notice.index("<pre><code>") + len("<pre><code>") : notice.index("</code></pre>")]
    return shlex.split(unescape(text))


PLACES = [
    "while it was prepared",
    "before the first epoch of its training was done",
    "in the training of half 1, with",
    "while its maps were made",
]


@pytest.mark.parametrize("where", PLACES)
def test_a_stopped_run_says_where_and_is_resumed_by_the_command_it_gives(
    where: str, brief_of: Brief, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        strike(patch, where, stop)
        # A report of a stopped run takes no time for maps and models.
        patch.setattr(views, "Views", None)
        run, outcome = brief_of("dynamight", "--until", "report", out=tmp_path / "a run")
    assert outcome.code == 75 and "[run.stopped]" in outcome.err
    page = (run / "report.html").read_text()
    assert "This run was stopped" in page and "stopped by SIGTERM" in page and where in page
    assert "not complete" not in page and "No figure here" not in page
    typed = resume_of(page)
    assert typed == ["dynaflex", "resume", str(run)]
    outcome = command(*typed[1:])
    assert outcome.code == 0, outcome.err
    page = (run / "report.html").read_text()
    assert "This run was stopped" not in page and "not complete" not in page
    assert (run / "figures" / "fsc.png").is_file()


@pytest.mark.parametrize("where", PLACES[2:])
def test_an_error_keeps_its_exit_code_and_stands_in_the_report(
    where: str, brief_of: Brief, monkeypatch: pytest.MonkeyPatch
) -> None:
    strike(monkeypatch, where, fail)
    run, outcome = brief_of("flex")
    assert outcome.code == 1 and "error: ZeroDivisionError" in outcome.err
    page = (run / "report.html").read_text()
    assert "ended in an error" in page and where in page
    assert "ZeroDivisionError: a &lt;fault&gt; in the program" in page
    assert resume_of(page) == ["dynaflex", "resume", str(run)]


def test_a_report_that_fails_is_a_warning_and_hides_nothing(
    brief_of: Brief, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    def broken(*_: object) -> Path:
        raise RuntimeError("no ink")

    with monkeypatch.context() as patch:
        patch.setattr(reported, "write_report", broken)
        strike(patch, "while its maps were made", stop)
        run, outcome = brief_of("dynamight")
        assert outcome.code == 75 and "[run.stopped]" in outcome.err
        assert "warning: no report was written: RuntimeError: no ink" in outcome.err
        outcome = command("reconstruct", run)
        assert outcome.code == 0 and "no ink" in outcome.err
    assert (run / "fsc.json").exists() and not (run / "report.html").exists()


def test_a_second_signal_ends_the_report_and_not_the_account_of_the_first(
    brief_of: Brief, monkeypatch: pytest.MonkeyPatch
) -> None:
    strike(monkeypatch, "while its maps were made", stop)
    monkeypatch.setattr(reported, "write_report", after(1, stop, reported.write_report))
    run, outcome = brief_of("dynamight")
    assert outcome.code == 75 and not (run / "report.html").exists()


def test_a_whole_report_that_is_stopped_is_written_by_resuming(
    brief_of: Brief, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.setattr(reported, "write_report", after(1, stop, reported.write_report))
    run, outcome = brief_of("dynamight", "--until", "report")
    assert outcome.code == 75 and (run / "fsc.json").exists() and not (run / "report.html").exists()


def test_what_never_became_a_run_gets_no_report(brief_of: Brief, tmp_path: Path) -> None:
    _, outcome = brief_of("dynamight", "--epochs", 0, out=tmp_path / "run")
    assert outcome.code == 2 and not (tmp_path / "run").exists()


def test_a_refused_resume_leaves_the_report_as_it_was(brief_of: Brief, brief_run: Path) -> None:
    before = sorted(path.name for path in brief_run.iterdir())
    _, outcome = brief_of("dynamight", "--resume", "--latent-dim", 3, out=brief_run)
    assert outcome.code == 2
    assert sorted(path.name for path in brief_run.iterdir()) == before


def test_a_reconstruction_that_is_stopped_is_begun_again_by_the_same_command(
    brief_of: Brief, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, outcome = brief_of("flex")
    assert outcome.code == 0
    with monkeypatch.context() as patch:
        patch.setattr(maps, "write_map", after(2, stop, maps.write_map))
        assert command("reconstruct", run, "--box", 24).code == 75
    page = (run / "report.html").read_text()
    assert "while its maps were made" in page
    typed = resume_of(page)
    assert typed == ["cd", os.getcwd(), "&&", "dynaflex", "reconstruct", str(run), "--box", "24"]
    assert command(*typed[4:]).code == 0
    assert "stopped" not in (run / "report.html").read_text()


def test_what_was_trained_is_shown(brief_of: Brief, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "collect", after(1, stop, table.collect))
    run, outcome = brief_of("dynamight")
    assert outcome.code == 75
    page = (run / "report.html").read_text()
    assert 'id="training"' in page and 'id="threshold"' in page and 'id="slices"' not in page
    assert "with 5 of 5 epochs done" in page and "figures/" not in page
