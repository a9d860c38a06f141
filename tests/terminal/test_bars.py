"""Laws of what a person sees: bars at a terminal, plain lines anywhere else, and the same lines in the log of a run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from terminal.conftest import Made
from terminal.typing import Shown, Terminal, at_a_terminal, into_files

COMMANDS: dict[str, tuple[list[object], list[str]]] = {
    "simulate": (
        ["simulate", "{out}/data", "--particles", 60, "--box", 32, "--pixel-size", 6],
        ["images of the molecule", "noise", "consensus map"],
    ),
    "check": (
        ["check", "{data}/particles.star", "--map", "{data}/consensus.mrc", "--mask", "{data}/mask.mrc"],
        ["reading the images", "comparing the images with the map"],
    ),
    "reconstruct": (["reconstruct", "{run}"], ["maps of half 1", "maps of half 2", "report"]),
    "validate": (["validate", "{run}"], ["%"]),
    "analyze": (
        ["analyze", "{run}", "--frames", 2, "--no-movies", "-o", "{out}/analysis"],
        ["clusters", "domains", "figures"],
    ),
    "score": (
        ["score", "{run}", "--truth", "{data}/truth.npz", "--images", 4],
        ["maps of half 1", "conformations of half 2"],
    ),
    "export": (["export", "{run}", "--to", "chimerax", "-o", "{out}/chimerax"], ["maps in axis1"]),
    "volumes": (["volumes", "{run}", "-o", "{out}/volumes", "--axis", 1, "--frames", 3], ["maps in volumes"]),
    "volumes from particles": (
        ["volumes", "{run}", "-o", "{out}/both", "--axis", 1, "--frames", 3, "--from-particles"],
        ["motion of the particles", "maps from particles"],
    ),
}
MAY_FAIL = ("validate",)
"""What is learned in two epochs need not pass the controls: exit code 1."""


@pytest.fixture
def fill(few: Path, made: Callable[[str], Made], tmp_path: Path) -> Callable[[list[object]], list[object]]:
    def filled(command: list[object]) -> list[object]:
        run = made("dynamight").run
        return [str(part).format(data=few, run=run, out=tmp_path) for part in command]

    return filled


def ends_well(shown: Shown, *, may_fail: bool = False) -> None:
    """The command ended as it should, its last line is a whole one, and the cursor is back."""
    assert shown.code in ((0, 1) if may_fail else (0,)), shown.text[-2000:]
    assert "Traceback" not in shown.text and shown.raw.endswith("\n") and shown.cursor_is_shown


def are_plain(text: str) -> None:
    """Lines that a log or a pipe can hold."""
    assert "\x1b" not in text and "\r" not in text and "━" not in text and text.endswith("\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_at_a_terminal_there_are_bars_and_in_a_file_there_are_lines(
    name: str, fill: Callable[[list[object]], list[object]], tmp_path: Path
) -> None:
    command, tasks = COMMANDS[name]
    shown = at_a_terminal(*fill(command))
    ends_well(shown, may_fail=name in MAY_FAIL)
    assert all(task in shown.text for task in tasks) and "━" in shown.text
    assert re.search(r"\d%", shown.text)
    code, out, err = into_files(tmp_path, *fill(command))
    # What two epochs have learned may be too little for all that is asked of it.
    assert code == shown.code and all(line.startswith("warning: ") for line in err.splitlines())
    are_plain(out)


@pytest.mark.parametrize("method", ["dynamight", "flex"])
def test_a_run_shows_bars_and_its_log_has_lines(method: str, made: Callable[[str], Made]) -> None:
    run, shown = made(method).run, made(method).shown
    ends_well(shown)
    for task in ("images of half 1", "training half 1", "training half 2", "maps of half 2", "report"):
        assert task in shown.text
    assert re.search(r"training half 1 +[━╸╺]+ +\d+% epoch 1/2", shown.text)
    log = (run / "log.txt").read_text()
    are_plain(log)
    for half in (1, 2):
        for epoch in (1, 2):
            assert f"training half {half} epoch {epoch}/2" in log


def test_what_a_run_prints_into_a_pipe_is_in_its_log(typed: Callable[..., list[object]], tmp_path: Path) -> None:
    code, out, err = into_files(tmp_path, *typed("dynamight", tmp_path / "run", 2), "--until", "train")
    assert (code, err) == (0, "")
    are_plain(out)
    *told, done = out.splitlines()
    logged = [line.partition(" ")[2] for line in (tmp_path / "run" / "log.txt").read_text().splitlines()]
    assert done == f"done: {tmp_path / 'run'}" and any("epoch 2/2" in line for line in told)
    assert [line for line in told if line.startswith("training")] == [
        line for line in logged if line.startswith("training")
    ]


def test_a_dumb_terminal_gets_plain_lines(fill: Callable[[list[object]], list[object]]) -> None:
    shown = at_a_terminal(*fill(COMMANDS["check"][0]), term="dumb")
    ends_well(shown)
    are_plain(shown.raw.replace("\r\n", "\n"))


def test_the_explorer_is_ended_by_ctrl_c(made: Callable[[str], Made]) -> None:
    viewing = Terminal(("view", made("dynamight").run))
    viewing.wait_for("to stop: Ctrl-C")
    viewing.interrupt()
    shown = viewing.end()
    ends_well(shown)
    assert "http://127.0.0.1:" in shown.text and "stopped" in shown.text
