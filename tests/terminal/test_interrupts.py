"""Laws of Ctrl-C: whatever a command is at, it ends soon, says so in one line, and leaves whole files or none."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynaflex.io.mrc import read_map
from terminal.conftest import Made
from terminal.typing import Shown, Terminal

STOPPED, SOON = 75, 20.0
STAGES = {
    "reading": ("reading the images", 2),
    "training": ("training half 1", 500),
    "latents": ("latents of half 1", 2),
    "reconstruction": ("maps of half 1", 2),
}
_MAIN = "import sys; sys.argv[0] = 'dynaflex'; from dynaflex.cli.main import main; main()"


def stopped_in(word: str, *command: object, short_report: bool = True) -> Shown:
    """How a command ends if Ctrl-C is typed as soon as it shows this word."""
    terminal = Terminal(command, short_report=short_report)
    terminal.wait_for(word)
    terminal.interrupt()
    shown = terminal.end(within=SOON)
    assert word in shown.text
    assert "Traceback" not in shown.text and "Aborted" not in shown.text
    assert shown.raw.endswith("\n") and shown.cursor_is_shown
    assert shown.code in (STOPPED, 0), shown.text[-2000:]
    if shown.code == STOPPED:
        assert shown.text.rstrip().splitlines()[-1].startswith("stopped by SIGINT")
    return shown


def holds_nothing_unfinished(folder: Path) -> None:
    """No file that was being written is left, and every map that is there can be read."""
    assert not [path for path in folder.rglob("*") if path.name.startswith(".") or path.name.endswith(".writing")]
    for path in folder.rglob("*.mrc"):
        read_map(path)


@pytest.mark.parametrize("method", ["dynamight", "flex"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_run_stops_in_every_stage(
    method: str, stage: str, typed: Callable[..., list[object]], tmp_path: Path
) -> None:
    word, epochs = STAGES[stage]
    run = tmp_path / "run"
    shown = stopped_in(word, *typed(method, run, epochs))
    begun = (run / "config.json").exists()
    assert begun or stage == "reading"
    assert ("dynaflex resume" in shown.text) == (begun and shown.code == STOPPED)
    if stage == "training":
        assert shown.code == STOPPED and (run / "report.html").exists()
    if begun:
        holds_nothing_unfinished(run)


def test_a_run_stops_in_its_report(
    made: Callable[[str], Made], typed: Callable[..., list[object]], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(made("dynamight").run, run)
    (run / "report.html").unlink()
    shown = stopped_in("report ", *typed("dynamight", run, 2), "--resume", short_report=False)
    assert shown.code == STOPPED and not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("word", "command"),
    [
        ("images of the molecule", ["simulate", "{out}", "--particles", 3000, "--box", 48, "--pixel-size", 4]),
        ("reading the images", ["check", "{data}/particles.star", "--map", "{data}/consensus.mrc"]),
        ("%", ["validate", "{run}"]),
        ("figures", ["analyze", "{run}", "-o", "{out}"]),
        ("maps of half 1", ["score", "{run}", "--truth", "{data}/truth.npz"]),
        ("maps in", ["export", "{run}", "--to", "chimerax", "-o", "{out}"]),
        ("maps in", ["volumes", "{run}", "-o", "{out}", "--axis", 1, "--frames", 500]),
        ("maps from particles", ["volumes", "{run}", "-o", "{out}", "--axis", 1, "--frames", 200, "--from-particles"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_other_commands_stop_and_advise_nothing(
    word: str, command: list[object], few: Path, made: Callable[[str], Made], tmp_path: Path
) -> None:
    run = made("dynamight").run
    typed = [str(part).format(data=few, run=run, out=tmp_path / "out") for part in command]
    shown = stopped_in(word, *typed)
    assert "--resume" not in shown.text
    holds_nothing_unfinished(tmp_path)
    if command[0] in ("simulate", "volumes"):
        assert shown.code == STOPPED


def test_ctrl_c_ends_the_tests_too(
    command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command within a test would take it for its own, and the next test would begin."""
    monkeypatch.setattr("dynaflex.results.doctor.examine", lambda _run: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        command("doctor", tmp_path)
    assert command("doctor", tmp_path, interrupting=True).code == STOPPED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("loading", ["typer.main", "torch._utils"])
def test_a_command_that_is_still_loading_stops(loading: str, number: signal.Signals, few: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-c", _MAIN, "check", str(few / "particles.star")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.rpartition("|")[2].strip() == loading:
                process.send_signal(number)
                break
        said = [line for line in process.stderr if not line.startswith("import time:")]
        assert process.wait(SOON) == STOPPED
    assert said == [f"stopped by {number.name} [run.stopped]\n"]
