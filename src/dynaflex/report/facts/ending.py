"""How a run ended before it was done: why, where, and the command that goes on with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dynaflex.errors import DynaflexError, StoppedOnRequest
from dynaflex.report.facts.files import RunFiles


@dataclass(frozen=True)
class Ending:
    """Why a run ended early, what to do about it if that is known, and the ``command`` that goes on with it.

    A run that was ``stopped`` has lost nothing; one that was not ended in an error.
    """

    stopped: bool
    reason: str
    fix: str | None
    command: str

    @classmethod
    def of(cls, error: Exception | StoppedOnRequest, command: str) -> Ending:
        """The ending that an exception makes."""
        if isinstance(error, StoppedOnRequest):
            return cls(True, error.problem, None, command)
        if not isinstance(error, DynaflexError):
            return cls(False, f"{type(error).__name__}: {error}", None, command)
        place = "" if error.file is None else f"{error.file}: "
        return cls(False, place + error.problem, error.fix, command)


def reached(run: Path) -> str:
    """How far an unfinished run has come, in words that go on a sentence."""
    if not (run / "particles.star").exists():
        return "while it was prepared"
    if (run / "fsc.json").exists():
        return "after its maps were made"
    if (run / "latents.npz").exists():
        return "while its maps were made"
    lines = RunFiles(run).metrics()
    if not lines:
        return "before the first epoch of its training was done"
    half, epoch, epochs = (lines[-1].get(name) for name in ("half", "epoch", "epochs"))
    whose = f"half {half}" if half else "both halves together"
    return f"in the training of {whose}, with {epoch} of {epochs} epochs done"
