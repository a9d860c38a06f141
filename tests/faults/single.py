"""One fault in one file of a finished run, then one command on it: faults, commands, and what may come of it."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from faults.explored import explored
from faults.harness import Command

RUN = "RUN"
_OUTPUTS = ("analysis/", "volumes/", "export/", "figures/", "report.html", ".dynaflex-report.json", "log.txt")
"""What commands write for people and other programs, and resuming does not make again."""
_TOLD = ("log.txt", "files.json", "lock.json", ".dynaflex-report.json")
"""What a command may add to: a log, and lists that follow from the other files."""
_BY_OTHERS = (*_OUTPUTS, "metrics.jsonl", "validation.json")
"""What resuming a run up to its maps does not make."""
_DOCUMENTED = re.compile(r"^\| `([a-z.-]+)` \|", re.MULTILINE)
_PAGE = Path(__file__).parents[2] / "docs" / "errors.md"

COMMANDS: dict[str, list[object]] = {
    "doctor": ["doctor", RUN],
    "resume": ["resume", RUN, "--until", "reconstruct"],
    "reconstruct": ["reconstruct", RUN],
    "analyze": ["analyze", RUN, "--frames", 2, "--no-movies"],
    "score": ["score", RUN, "--truth", "truth.npz", "--images", 3, "--json"],
    "select a cluster": ["select", RUN, "--cluster", 1, "-o", "out/subset.star"],
    "select a range": ["select", RUN, "--latents", "1:-2:0.5", "--half", 1, "-o", "out/subset.star"],
    "volumes": ["volumes", RUN, "--axis", 1, "--frames", 2, "-o", "out"],
    "displacements": ["displacements", RUN, "--points", "points.npy", "--particles", "all", "-o", "out/moved.npz"],
    "export relion": ["export", RUN, "--to", "relion", "-o", "out"],
    "export cryosparc": ["export", RUN, "--to", "cryosparc", "-o", "out"],
    "export chimerax": ["export", RUN, "--to", "chimerax", "-o", "out"],
    "view": [],
}
SLOW_COMMANDS: dict[str, list[object]] = {
    "validate": ["validate", RUN, "--most", 20, "--json"],
    "report": [],
}


def _missing(path: Path, _other: Path, _chance: random.Random) -> None:
    path.unlink()


def _empty(path: Path, _other: Path, _chance: random.Random) -> None:
    path.write_bytes(b"")


def _cut(path: Path, _other: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(max(1, len(content)))])


def _flipped(path: Path, _other: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _of_another_run(path: Path, other: Path, _chance: random.Random) -> None:
    if other.exists():
        shutil.copyfile(other, path)


FAULTS: dict[str, Callable[[Path, Path, random.Random], None]] = {
    "missing": _missing, "empty": _empty, "cut": _cut, "a bit flipped": _flipped, "of another run": _of_another_run,
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """How a command ended, what it said, and the ``files`` of the run and of its output as they are then, by name;
    of the explorer also what it shows, and the ``notices`` beside that."""

    code: int
    out: str
    err: str
    files: Mapping[str, str]
    shown: Mapping[str, str] = field(default_factory=dict)
    notices: str = ""


@dataclass
class Subject:
    """A finished run at ``folder / "run"``, kept whole in ``folder / "whole"``, and the files of another run."""

    folder: Path
    other: Path
    truth: Path
    command: Command
    without_fault: dict[str, Result] = field(default_factory=dict)

    @property
    def run(self) -> Path:
        """Where the run always is when a command sees it."""
        return self.folder / "run"

    def __post_init__(self) -> None:
        shutil.copytree(self.run, self.folder / "whole")
        shutil.copyfile(self.truth, self.folder / "truth.npz")
        np.save(self.folder / "points.npy", np.random.default_rng(0).normal(0.0, 20.0, (20, 3)))

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """The files of the run by the folder that they are in: each folder is as likely as another to be drawn from."""
        found: dict[str, list[str]] = {}
        whole = self.folder / "whole"
        for path in sorted(whole.rglob("*")):
            if path.is_file():
                name = path.relative_to(whole)
                found.setdefault(name.parts[0] if len(name.parts) > 1 else "", []).append(name.as_posix())
        return found

    def drawn(self, number: int, commands: list[str]) -> tuple[str, str, str]:
        """Spoil a file of a fresh copy of the run: its name, the fault, and the command to give then."""
        chance = random.Random(number)
        while True:
            self._fresh()
            group = chance.choice(sorted(self.groups))
            name, fault = chance.choice(self.groups[group]), chance.choice(list(FAULTS))
            FAULTS[fault](self.run / name, self.other / name, chance)
            path, whole = self.run / name, self.folder / "whole" / name
            if not path.exists() or path.read_bytes() != whole.read_bytes():
                return name, fault, chance.choice(commands)

    def expected(self, name: str) -> Result:
        """What a command comes to without a fault."""
        if name not in self.without_fault:
            self._fresh()
            self.without_fault[name] = self.result(name)
        return self.without_fault[name]

    def result(self, name: str) -> Result:
        """Give a command; the report, which takes long, is a command of its own and not written by the others."""
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        shown: dict[str, str] = {}
        notices = ""
        if name == "report":
            code, out, err = _ended(lambda: _report(self.run))
        elif name == "view":
            code, out, err = _ended(lambda: shown.update(explored(self.run)))
            notices = shown.pop("notices", "")
        else:
            typed = [self._placed(word) for word in (COMMANDS | SLOW_COMMANDS)[name]]
            with without_report():
                outcome = self.command(*typed)
            code, out, err = outcome.code, outcome.out, outcome.err
        return Result(code, out, err, self._contents(), shown, notices)

    def _placed(self, word: object) -> object:
        inside = isinstance(word, str) and word.startswith(("out", "truth.npz", "points.npy"))
        return self.run if word == RUN else self.folder / str(word) if inside else word

    def _fresh(self) -> None:
        shutil.rmtree(self.run)
        shutil.copytree(self.folder / "whole", self.run)

    def _contents(self) -> dict[str, str]:
        found = {}
        for top in (self.run, self.folder / "out"):
            for path in sorted(top.rglob("*")):
                if path.is_file() and path.name not in _TOLD:
                    found[path.relative_to(self.folder).as_posix()] = _digest(path)
        return found


def broken_law(subject: Subject, name: str, given: str, got: Result) -> str | None:
    """Which law the end of a command breaks, after a fault in the file called ``name``; None if it breaks none."""
    whole, said = subject.expected(given), got.out + got.err
    if "Traceback" in said or "[bug]" in said:
        return "a bug: " + said[-400:]
    if given == "doctor":
        return None if name == "log.txt" or _names(said, name) else f"the doctor names no {name}"
    if got.code != 0 and got.code != whole.code:
        return _broken_by_error(got.err, name)
    told = got.notices + (_text(subject.run / "report.html") if given == "report" else "")
    changed = {file for file in whole.files.keys() | got.files.keys() if whole.files.get(file) != got.files.get(file)}
    untouched = whole.files.get(f"run/{name}") == _digest(subject.folder / "whole" / name)
    if untouched and (given != "resume" or name.startswith(_BY_OTHERS)):
        changed.discard(f"run/{name}")
    if given == "report" and _names(told, name):
        changed = {file for file in changed if not file.startswith(("run/report.html", "run/figures/"))}
    if changed:
        return f"exit 0, and these differ: {', '.join(sorted(changed))}; {got.err}"
    if given in ("score", "validate") and got.out != whole.out:
        return f"other numbers: {got.out}"
    for question, answer in got.shown.items():
        if answer != whole.shown.get(question) and not _names(answer + told, name):
            return f"shown without a word on {name}: {question}: {answer[:300]}; {told}"
    return None


def _broken_by_error(err: str, name: str) -> str | None:
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    if len(lines) != 1:
        return f"not one line of error: {err}"
    identifier = lines[0].rpartition("[")[2].rstrip("]")
    if identifier not in _DOCUMENTED.findall(_PAGE.read_text(encoding="utf-8")):
        return f"not documented: {lines[0]}"
    if ". Fix: " not in lines[0]:
        return f"no fix: {lines[0]}"
    return None if _names(lines[0], name) else f"another file is blamed: {lines[0]}"


def _names(text: str, name: str) -> bool:
    """True if a text names a file: of a checkpoint it is enough to name that, or the series that has no whole one."""
    parts = Path(name).parts
    if parts[0] == "checkpoints":
        return any(word in text for word in (parts[1], "checkpoints: ", f"of {parts[1].partition('_')[0]} "))
    return parts[-1] in text


def _ended(act: Callable[[], object]) -> tuple[int, str, str]:
    """Something done in process, ended as the command line would end it."""
    from dynaflex.errors import DynaflexError

    try:
        act()
    except DynaflexError as error:
        return error.exit_code, "", f"error: {error}"
    except Exception as error:
        return 1, "", f"error: {type(error).__name__}: {error} [bug]"
    return 0, "", ""


def _report(run: Path) -> None:
    from dynaflex.report.html import write_report

    with patch("dynaflex.report.drawing.style.Drawing.write"):
        write_report(run)


@contextmanager
def without_report() -> Any:
    """Commands do all but write the report."""
    with (
        patch("dynaflex.report.reported.write_report", lambda run, _ending=None: run),
        patch("dynaflex.report.html.write_report", lambda run, _ending=None: run),
    ):
        yield


def _digest(path: Path) -> str:
    """What a file says, without times and what a command adds to tell of a fault."""
    content = path.read_bytes()
    if path.suffix == ".csg":
        content = b"".join(line for line in content.splitlines(keepends=True) if not line.startswith(b"created:"))
    try:
        if path.name.startswith(".dynaflex-"):
            # It lists files by what they say, times and all.
            content = json.dumps(sorted(json.loads(content)["files"])).encode()
        if path.name == "provenance.json":
            content = json.dumps({**json.loads(content), "warnings": None}).encode()
        if path.name == "spent.json":
            content = b""
        if path.name == "metrics.jsonl":
            lines = [json.loads(line) | {"seconds": 0, "memory_mb": 0} for line in content.splitlines()]
            # An epoch that is made again stands after the other half's.
            content = json.dumps(sorted(lines, key=lambda line: (line["half"], line["epoch"]))).encode()
    except (ValueError, TypeError, LookupError):
        pass
    return hashlib.sha256(content).hexdigest()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
