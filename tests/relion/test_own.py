"""Laws of `dynaflex` in the folder of one of RELION's jobs: it is answered there, however the command ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dynaflex.relion.own import job_written_to
from dynaflex.run.stop import ABORT, EXITS
from patience import eventually
from relion.jobs import BEGUN, Job

_PROGRAM = "from dynaflex.relion import own; own.WORK = {0} or own.WORK; own.program()"
_AT_WORK = [sys.executable, "-c", f"{BEGUN}import time; time.sleep(60)"]


def typed(job: Job, *line: object, work: list[str] | None = None) -> subprocess.Popen[str]:
    """The program, started in the project of a job; ``work`` takes the place of the real work."""
    words = [sys.executable, "-c", _PROGRAM.format(work), *(str(part) for part in line)]
    return subprocess.Popen(words, cwd=job.project, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    ("line", "code"),
    [(["flex", "no.star", "--map", "no.mrc"], 3), (["flex", "--no-such-option"], 2), (["no-command"], 2)],
)
def test_a_command_that_never_began_has_failed(line: list[str], code: int, job: Job) -> None:
    (job.folder / EXITS[0]).touch()
    started = typed(job, *line, "-o", job.name)
    _, err = started.communicate()
    assert (started.returncode, job.marks()) == (code, ["FAILURE"]), err


def test_a_run_that_is_resumed_is_its_job_too(job: Job) -> None:
    started = typed(job, "resume", job.name)
    _, err = started.communicate()
    assert started.returncode and job.marks() == ["FAILURE"], err


def test_it_leaves_nothing_where_no_job_is(job: Job) -> None:
    (job.folder / "job.star").unlink()
    typed(job, "flex", "no.star", "--map", "no.mrc", "-o", job.name).communicate()
    assert not job.marks()


@pytest.mark.parametrize(
    ("how", "said"), [(signal.SIGKILL, "FAILURE"), (ABORT, "ABORTED"), (signal.SIGTERM, "ABORTED")]
)
def test_work_that_is_killed_and_work_that_is_aborted_are_answered(
    how: str | signal.Signals, said: str, job: Job
) -> None:
    started = typed(job, "flex", "-o", job.name, work=_AT_WORK)
    eventually((job.project / "begun").exists)
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children")
    if how == signal.SIGKILL:
        os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
    elif how == ABORT:
        (job.folder / ABORT).touch()
    else:
        started.send_signal(signal.SIGTERM)
    started.communicate(timeout=60)
    assert job.marks() == [said]


@pytest.mark.parametrize(
    "line", [["-o", "{0}"], ["--out", "{0}"], ["--out={0}"], ["a.star", "--map", "b", "-o", "{0}/"]]
)
def test_the_folder_that_is_written_to_is_found(line: list[str], job: Job) -> None:
    assert job_written_to(["flex", *(part.format(job.folder) for part in line)]) == job.folder
    assert job_written_to(["validate", str(job.folder)]) is None
