"""Laws of how a job ends: RELION finds one file that says it, whatever became of the work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from dynaflex.relion.line import TASKS
from dynaflex.relion.parent import PROGRAM, run_job
from dynaflex.run.stop import ABORT, EXITS
from patience import eventually
from relion.jobs import BEGUN, Job

TRAIN, INVERT, BACKPROJECT, EXPLORE = TASKS
LEAVE = "import sys; from dynaflex.cli.main import leave_after\ndef work(_): {0}\nleave_after(work, [])"
WAIT = "import time; time.sleep(60)"
OBEYS = f"import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit({{0}}))\n{BEGUN}{WAIT}"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{BEGUN}{WAIT}"
KILLED = "import os, signal; os.kill(os.getpid(), signal.{0})"

ENDINGS: dict[str, tuple[str, str, int, str]] = {
    "done": ("pass", "SUCCESS", 0, ""),
    "a library is missing": (LEAVE.format("raise ImportError('no torch')"), "FAILURE", 1, "no torch"),
    "out of memory in Python": (LEAVE.format("raise MemoryError"), "FAILURE", 5, "[memory]"),
    "out of memory in the kernel": (KILLED.format("SIGKILL"), "FAILURE", 5, "[relion.killed]"),
    "a fault of a library": (KILLED.format("SIGSEGV"), "FAILURE", 4, "SIGSEGV. Fix: see above [relion.signal]"),
    "no such module": ("import a_library_that_is_not_there", "FAILURE", 1, "ModuleNotFoundError"),
    "no program at all": ("a line that is no Python", "FAILURE", 1, "SyntaxError"),
    "a busy run": ("import sys; sys.exit(6)", "FAILURE", 6, ""),
    "stopped by somebody else": ("import sys; sys.exit(75)", "ABORTED", 75, ""),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_one_file_says_how_the_work_ended(ending: str, job: Job) -> None:
    work, said, code, words = ENDINGS[ending]
    for name in EXITS:
        (job.folder / name).touch()
    ended = job.done(job.train(), work)
    assert (job.marks(), ended.process.returncode) == ([said], code), ended.err
    assert words in ended.err and bool(words) == bool(ended.err) and not ended.out


@pytest.mark.parametrize("line", ["train", TASKS[1], TASKS[2], TASKS[3], "external"])
@pytest.mark.parametrize("asked_for", [True, False])
def test_every_line_is_answered_where_it_asks_for_it_or_where_a_job_is(line: str, asked_for: bool, job: Job) -> None:
    typed = {"train": job.train, "external": job.external}.get(line, lambda: job.goes_on(line))()
    if asked_for:
        (job.folder / "job.star").unlink()
    else:
        del typed[-2:]
    job.done(typed, "pass")
    assert job.marks() == ["SUCCESS"]


def test_elsewhere_nothing_is_left(job: Job) -> None:
    (job.folder / "job.star").unlink()
    job.done(job.train()[:-2], "pass")
    assert not job.marks()


def test_a_folder_is_made_where_there_is_none(job: Job, tmp_path: Path) -> None:
    line = [part.replace(job.name, "DynaMight/job008/") for part in job.train()]
    job.done(line, "import sys; sys.exit(3)")
    assert (tmp_path / "DynaMight" / "job008" / "RELION_JOB_EXIT_FAILURE").exists()


STOPS: dict[str, tuple[str, str]] = {
    "before it hears": (f"{BEGUN}{WAIT}", "ABORTED"),
    "at work": (OBEYS.format(75), "ABORTED"),
    "in a library that makes an error of it": (OBEYS.format(1), "ABORTED"),
    "where that is how it ends": (OBEYS.format(0), "SUCCESS"),
}


@pytest.mark.parametrize("stage", STOPS)
@pytest.mark.parametrize("asked", ["file", signal.SIGTERM, signal.SIGINT])
def test_a_job_is_aborted_at_every_stage(stage: str, asked: str | signal.Signals, job: Job) -> None:
    work, said = STOPS[stage]
    started = job.start(job.goes_on(EXPLORE), work)
    started.has_begun()
    began = time.monotonic()
    if isinstance(asked, str):
        (job.folder / ABORT).touch()
    else:
        os.kill(started.pid, asked)
    started.ends()
    assert job.marks() == [said] and not (job.folder / ABORT).exists()
    assert time.monotonic() - began < 30.0


def test_a_job_that_was_aborted_before_it_began_does_nothing(job: Job, tmp_path: Path) -> None:
    (job.folder / ABORT).touch()
    job.done(job.train(), f"{WAIT}\n{BEGUN}")
    assert job.marks() == ["ABORTED"] and not (tmp_path / "begun").exists()


def test_what_does_not_hear_is_killed_with_all_that_it_started(job: Job, tmp_path: Path) -> None:
    """Doppio kills five seconds after it has asked; then nobody would say how the job ended."""
    child = f"import subprocess, sys; one = subprocess.Popen([sys.executable, '-c', {WAIT!r}])\n"
    work = f"{child}open('child', 'w').write(str(one.pid))\n{DEAF}"
    started = job.start(job.train(), work)
    started.has_begun()
    os.kill(started.pid, signal.SIGTERM)
    started.ends()
    assert job.marks() == ["ABORTED"]
    grandchild = int((tmp_path / "child").read_text())
    eventually(lambda: not _lives(grandchild))


def test_nobody_works_for_a_job_whose_first_process_was_killed(job: Job, tmp_path: Path) -> None:
    work = "import os; from dynaflex.relion.work import end_with_parent; end_with_parent()\n"
    started = job.start(job.train(), f"{work}open('worker', 'w').write(str(os.getpid()))\n{BEGUN}{WAIT}")
    started.has_begun()
    worker = int((tmp_path / "worker").read_text())
    started.process.kill()
    started.ends()
    eventually(lambda: not _lives(worker))


def test_a_job_outlives_its_terminal(job: Job, tmp_path: Path) -> None:
    started = job.start(job.train(), f"{BEGUN}import os, time\nwhile not os.path.exists('go'): time.sleep(0.05)")
    started.has_begun()
    os.kill(started.pid, signal.SIGHUP)
    time.sleep(0.3)
    (tmp_path / "go").touch()
    started.ends()
    assert job.marks() == ["SUCCESS"]


BAD: dict[str, tuple[Callable[[Job], list[str]], str]] = {
    "no such task": (lambda job: job.goes_on("optimise"), "relion.task"),
    "an option without its value": (lambda job: [*job.train("--n-threads"), "--initial-threshold"], "relion.no-value"),
    "no such number of threads": (lambda job: job.train("--n-threads", 0), "relion.count"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_line_that_cannot_be_meant_is_a_failure_with_one_line_of_reason(fault: str, job: Job) -> None:
    line, identifier = BAD[fault]
    ended = job.done(line(job))
    assert job.marks() == ["FAILURE"] and ended.process.returncode == 2
    assert len(ended.err.splitlines()) == 1 and f"[{identifier}]" in ended.err and not ended.out


def test_a_library_that_cannot_be_loaded_is_a_failure_with_its_name(job: Job, tmp_path: Path) -> None:
    """The real work, with a torch that breaks; modules that lie in the project are not loaded at all."""
    (tmp_path / "json.py").write_text("raise SystemExit('a file of the project was run')\n")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "torch.py").write_text("raise ImportError('libcudart.so.12: cannot open shared object file')\n")
    with pytest.MonkeyPatch.context() as context:
        context.setattr(sys, "path", [str(broken), *sys.path])
        ended = job.done(job.goes_on(INVERT))
    assert job.marks() == ["FAILURE"] and "libcudart.so.12" in ended.err, ended.err


def test_what_relion_starts_loads_nothing_that_takes_long_or_could_fail() -> None:
    program = "import sys; from dynaflex.relion import parent; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    ours = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names) - {"__main__"}
    assert {name for name in ours if not name.startswith(("_", "site", "apport"))} == {"dynaflex"}


def test_work_that_cannot_even_be_started_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No memory for another process, an interpreter that has been taken away: no signal of this process is touched."""
    job = Job(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert run_job(job.train(), [str(tmp_path / "no-python")]) == 4
    assert job.marks() == ["FAILURE"] and "[relion.no-start]" in capsys.readouterr().err


def test_the_program_is_installed_under_a_name_for_which_relion_asks_to_be_told() -> None:
    """RELION adds --pipeline-control only where its whole command holds ``relion_``."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["scripts"][PROGRAM].partition(":")
    assert "relion_" in PROGRAM and callable(getattr(import_module(module), name))


def test_help_is_given_and_leaves_nothing(job: Job) -> None:
    for typed in (["--help"], [TRAIN, "-h"]):
        ended = job.done(typed)
        assert ended.process.returncode == 0 and all(task in ended.out for task in TASKS)
    assert job.done([]).process.returncode == 2 and not job.marks()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # What nobody waits for is dead and still has its number.
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
