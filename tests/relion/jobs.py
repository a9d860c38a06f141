"""A project of RELION with folders of jobs, the lines that RELION types there, and scripts in the place of the work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from dynaflex.run.stop import EXITS
from patience import eventually

_PARENT = """
import sys
from dynaflex.relion import parent
parent.GRACE = 0.5
work = [sys.executable, "-c", sys.argv[1]] if sys.argv[1] else parent.WORK
sys.exit(parent.run_job(sys.argv[2:], work))
"""
BEGUN = "open('begun', 'w').close()\n"
"""What a script does when it is ready to be stopped."""


class Job:
    """The folder of a job in the project where RELION was started, as it is before RELION starts the job's program."""

    def __init__(self, project: Path, name: str = "DynaMight/job007") -> None:
        self.project = project
        self.name = f"{name}/"
        self.folder = project / name
        self.folder.mkdir(parents=True)
        (self.folder / "job.star").touch()

    def train(self, *more: object) -> list[str]:
        """RELION's line for a new job."""
        files = ["--refinement-star-file", "Refine3D/job003/run_data.star", "--initial-model", "relion_map.mrc"]
        line = ["optimize-deformations", *files, "--output-directory", self.name, *more, *self.control()]
        return [str(part) for part in line]

    def goes_on(self, task: str, *more: object) -> list[str]:
        """RELION's line for a job that is continued."""
        return [str(part) for part in (task, self.name, *more, *self.control())]

    def external(self, *more: object) -> list[str]:
        """RELION's line for an External job."""
        files = ["--in_parts", "Refine3D/job003/run_data.star", "--in_3dref", "map.mrc", "--in_mask", "mask.mrc"]
        return [str(part) for part in ("--o", self.name, *files, *more, "--pipeline_control", self.name)]

    def control(self) -> list[str]:
        return ["--pipeline-control", self.name]

    def start(self, line: list[str], work: str | None = None) -> Started:
        """Start the program with a line; ``work`` is a script in the place of the real work."""
        return Started(self, line, work)

    def done(self, line: list[str], work: str | None = None) -> Started:
        """The same, when it has ended."""
        started = self.start(line, work)
        started.ends()
        return started

    def marks(self) -> list[str]:
        """What RELION finds of how the job ended."""
        return [name.removeprefix("RELION_JOB_EXIT_") for name in EXITS if (self.folder / name).exists()]


class Started:
    """A program at work; ``code``, ``out`` and ``err`` are there when it has ended."""

    def __init__(self, job: Job, line: list[str], work: str | None) -> None:
        self._project = job.project
        typed = [sys.executable, "-c", _PARENT, "" if work is None else work, *line]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, map(str, sys.path)))}
        with (job.folder / "run.out").open("wb") as out, (job.folder / "run.err").open("wb") as err:
            self.process = subprocess.Popen(typed, cwd=job.project, stdout=out, stderr=err, env=environment)
        self._written = [job.folder / "run.out", job.folder / "run.err"]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def out(self) -> str:
        return self._written[0].read_bytes().decode()

    @property
    def err(self) -> str:
        return self._written[1].read_bytes().decode()

    def has_begun(self, sign: Callable[[], bool] | None = None) -> None:
        """Wait until the work is ready to be stopped."""
        eventually(sign or (self._project / "begun").exists)

    def ends(self) -> int:
        return self.process.wait(120.0)
