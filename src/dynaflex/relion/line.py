"""RELION's command lines: those of its DynaMight job, and that of its External job. Nothing here takes long to load."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dynaflex.errors import UsageError

TASKS = TRAIN, INVERT, BACKPROJECT, EXPLORE = (
    "optimize-deformations", "optimize-inverse-deformations", "deformable-backprojection", "explore-latent-space",
)  # fmt: skip
EXTERNAL = "external"
"""What a line asks for. That of an External job names no task: it begins with an option."""

_CONTROL, _GPU = "pipeline-control", "gpu-id"
_FOLDERS = ("output-directory", "o")
_EVERYWHERE = (_CONTROL, _GPU, "checkpoint-file", "n-threads")
_USED: Mapping[str, Sequence[str]] = {
    TRAIN: (
        *_EVERYWHERE[:2], "output-directory", "refinement-star-file", "initial-model", "initial-threshold", "mask-file",
        "n-gaussians", "n-gaussian-widths", "n-latent-dimensions", "n-linear-layers", "n-neurons-per-layer", "n-epochs",
        "n-threads", "regularization-factor", "atomic-model", "particle-diameter", "batch-size", "datadir",
    ),
    INVERT: _EVERYWHERE,
    BACKPROJECT: _EVERYWHERE,
    EXPLORE: (*_EVERYWHERE, "port", "host", "socket", "datadir", "idle-hours"),
    EXTERNAL: (_CONTROL, _GPU, "o", "in-parts", "in-3dref", "in-mask", "j", "method"),
}  # fmt: skip
"""The options that each task makes use of."""
_UNUSED = ("n-workers", "downsample", "data-loader-threads", "backprojection-batch-size", "half-set", "checkpoint-file")
_UNUSED_EXTERNAL = ("in-movies", "in-mics", "in-coords")
_SWITCHES = ("preload-images", "save-deformations")
"""Options that say yes by being there."""


def _known(task: str) -> set[str]:
    """The options that have a value. RELION repeats what was typed for the training in every task that follows it."""
    if task == EXTERNAL:
        return {*_USED[task], *_UNUSED_EXTERNAL}
    return {*_UNUSED, *(name for one in TASKS for name in _USED[one])}


@dataclass(frozen=True)
class Line:
    """What RELION asks for: a task in the folder of a ``job``, with the values of the options that RELION or DynaMight
    know, in the order in which they were given; ``rest`` are all others, as they stand."""

    task: str
    job: Path
    given: Mapping[str, Sequence[str]]
    switches: frozenset[str]
    rest: tuple[str, ...]

    def value(self, name: str) -> str | None:
        """What was given last for an option; None where it was left out, or is empty."""
        return self.given.get(name, [""])[-1].strip() or None

    def required(self, name: str) -> str:
        """The same of an option without which nothing can be done.

        Raises:
            UsageError: it was left out.
        """
        value = self.value(name)
        if value is None:
            raise UsageError("relion.missing", f"{self.task} needs --{_as_typed(self.task, name)}")
        return value

    def number(self, name: str) -> float | None:
        """The same of an option that is a number.

        Raises:
            UsageError: it is none.
        """
        value = self.value(name)
        try:
            return None if value is None else float(value)
        except ValueError as error:
            raise UsageError("relion.number", f"--{name} cannot be {value!r}", expected="a number") from error

    def whole(self, name: str) -> int | None:
        """The same of an option that counts something.

        Raises:
            UsageError: it is no whole number above 0.
        """
        value, number = self.value(name), self.number(name)
        if number is not None and not (number >= 1.0 and number.is_integer()):
            raise UsageError("relion.count", f"--{name} cannot be {value}", expected="a whole number from 1 on")
        return None if number is None else int(number)

    @property
    def threads(self) -> int | None:
        """How many threads were asked for.

        Raises:
            UsageError: that is no whole number above 0.
        """
        return self.whole("j" if self.task == EXTERNAL else "n-threads")

    @property
    def gpus(self) -> list[int]:
        """The numbers of the GPUs that were named: ``0``, ``0,1``, ``0:1``, or the option several times; -1 is any.

        Raises:
            UsageError: something else was named.
        """
        texts = self.given.get(_GPU, [])
        named = [part for text in texts for part in re.split(r"[,:\s\"']+", text) if part]
        if not all(re.fullmatch(r"-1|\d+", part) for part in named):
            raise UsageError(
                "relion.gpu", f"--gpu-id cannot be {' '.join(texts)!r}", expected="numbers of GPUs: 0 or 0,1 or 0:1",
                fix="leave the field empty to take the first GPU there is",
            )  # fmt: skip
        return [number for number in map(int, named) if number >= 0]

    @property
    def unneeded(self) -> list[str]:
        """The options that were given and change nothing."""
        return [f"--{name}" for name in (*self.given, *sorted(self.switches)) if name not in _USED[self.task]]


def read_line(arguments: Sequence[str]) -> Line:
    """What a command line of RELION means, its program left out.

    Raises:
        UsageError: it has no such task, no folder of a job, or an option without its value.
    """
    task, tokens = _task_of(arguments)
    known, given = _known(task), dict[str, list[str]]()
    switches, rest, job = set(), [], None
    while tokens:
        token = tokens.pop(0)
        name, equals, value = _name_of(token), *token.partition("=")[1:]
        if name in known:
            follows = bool(tokens) and not tokens[0].startswith("--")
            if not equals and not follows and name != _GPU:
                raise UsageError("relion.no-value", f"--{_as_typed(task, name)} has no value")
            given.setdefault(name, []).append(value if equals or not follows else tokens.pop(0))
        elif name.removeprefix("no-") in _SWITCHES:
            switches.add(name.removeprefix("no-"))
        elif name:
            rest.append(f"--{name}{equals}{value}")
        elif job is None and task in TASKS[1:]:
            job = Path(token)
        else:
            rest.append(token)
    folder = job or next((Path(given[name][-1]) for name in (*_FOLDERS, _CONTROL) if name in given), None)
    if folder is None:
        raise UsageError("relion.no-job", f"{task} needs the folder of its job", fix="start it from RELION")
    return Line(task, folder, given, frozenset(switches), tuple(rest))


def job_of(arguments: Sequence[str]) -> tuple[Path | None, bool]:
    """The folder that a line wants to be told in how it ended, whatever else is wrong with it, and whether it says so;
    None where none is named."""
    named = {_name_of(option): value for option, value in values_of(arguments)}
    if named.get(_CONTROL):
        return Path(named[_CONTROL]), True
    for name in _FOLDERS:
        if named.get(name):
            return Path(named[name]), False
    if len(arguments) > 1 and arguments[0] in TASKS and not arguments[1].startswith("-"):
        return Path(arguments[1]), False
    return None, False


def values_of(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Every word of a command line, and what would be its value if it is an option: after ``=``, or the next word."""
    for token, following in zip(arguments, [*arguments[1:], ""], strict=False):
        option, equals, value = token.partition("=")
        yield option, value if equals else following


def _task_of(arguments: Sequence[str]) -> tuple[str, list[str]]:
    if arguments and arguments[0].startswith("--"):
        return EXTERNAL, list(arguments)
    if not arguments or arguments[0] not in TASKS:
        raise UsageError(
            "relion.task", "there is no such task", expected=f"{', '.join(TASKS)}, or the options of an External job",
            found=arguments[0] if arguments else "nothing",
        )  # fmt: skip
    return arguments[0], list(arguments[1:])


def _name_of(token: str) -> str:
    """The name of an option, which RELION writes with dashes in some jobs and with underscores in others."""
    return token.partition("=")[0].removeprefix("--").replace("_", "-") if token.startswith("--") else ""


def _as_typed(task: str, name: str) -> str:
    return name.replace("-", "_") if task == EXTERNAL else name
