"""Laws of starting: whoever only asks for help, or about the files of a run, does not wait for what they do not use."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from dynaflex.cli.app import app
from dynaflex.io.mrc import read_map, write_map

HEAVY = {"torch", "scipy", "sklearn", "skimage", "matplotlib", "roma"}
COMMANDS = [command.name for command in app.registered_commands]
_PROGRAM = """
import io, sys
from contextlib import redirect_stdout
from dynaflex.cli.main import main
for typed in sys.argv[1].split(";"):
    sys.argv = ["dynaflex", *typed.split("|")]
    try:
        with redirect_stdout(io.StringIO()):
            main()
    except SystemExit as left:
        assert not left.code, (typed, left.code)
print(*sys.modules)
"""


def loaded_by(*commands: Sequence[object]) -> set[str]:
    """What one process has imported after these commands, all of which end well."""
    typed = ";".join("|".join(map(str, command)) for command in commands)
    ended = subprocess.run([sys.executable, "-c", _PROGRAM, typed], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return {name.partition(".")[0] for name in ended.stdout.split()}


def test_help_imports_nothing_that_takes_long() -> None:
    loaded = loaded_by(["--help"], ["--version"], *([name, "--help"] for name in COMMANDS))
    assert len(COMMANDS) > 15 and not loaded & {*HEAVY, "numpy", "pandas"}


def test_settings_are_printed_and_read_without_torch(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("epochs = 3\n")
    printing = (["flex", "--config", tmp_path / "settings.toml", "--print-config"], ["dynamight", "--print-config"])
    assert not loaded_by(*printing) & HEAVY


@pytest.mark.parametrize(
    "typed",
    [
        ["doctor", "RUN"],
        ["select", "RUN", "--particles", "ROWS", "-o", "OUT"],
        ["select", "RUN", "--latents", "1:-9:9", "--half", "1", "-o", "OUT"],
    ],
    ids=["doctor", "select rows", "select latents"],
)
def test_the_files_of_a_run_are_looked_at_without_torch(typed: list[str], brief_run: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("3\n")
    words = {"RUN": brief_run, "ROWS": tmp_path / "rows.txt", "OUT": tmp_path / "subset.star"}
    assert not loaded_by([words.get(word, word) for word in typed]) & HEAVY


def test_an_fsc_needs_torch_and_no_more(few: Path, tmp_path: Path) -> None:
    given = read_map(few / "consensus.mrc")
    other = given.data + np.random.default_rng(0).normal(0.0, 0.1, given.data.shape).astype(np.float32)
    write_map(tmp_path / "other.mrc", other, given.pixel_size or 1.0)
    loaded = loaded_by(["fsc", few / "consensus.mrc", tmp_path / "other.mrc", "--mask", few / "mask.mrc"])
    assert loaded & HEAVY == {"torch"}


def test_the_explorer_says_what_it_opens_before_it_loads_what_takes_long(brief_run: Path) -> None:
    program = "import sys; sys.modules['torch'] = None; from dynaflex.cli.main import main; main()"
    typed = [sys.executable, "-c", program, "view", str(brief_run)]
    ended = subprocess.run(typed, capture_output=True, text=True, check=False)
    assert ended.returncode and ended.stdout == f"opening {brief_run}\n"


@pytest.mark.parametrize(
    "fails",
    ["ImportError('undefined symbol: iJIT_NotifyEvent')", "OSError('libcudart.so.12: cannot open shared object file')"],
)
def test_a_library_that_cannot_be_loaded_is_no_fault_of_dynaflex(fails: str, few: Path, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(f"raise {fails}\n")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from dynaflex.cli.main import main; main()"
    typed = [sys.executable, "-c", program, "fsc", few / "consensus.mrc", few / "consensus.mrc"]
    ended = subprocess.run(typed, capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and ended.stderr.startswith("error: a library cannot be loaded: "), ended.stderr
    assert "[library]" in ended.stderr and "fault" not in ended.stderr
