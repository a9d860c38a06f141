"""Maps from the particles around the nodes of a path, made while the page is looked at."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import torch

from dynaflex import tell
from dynaflex.errors import DynaflexError, UsageError
from dynaflex.products.states.from_particles import FromParticles, in_numbers, lack
from dynaflex.products.states.surroundings import Surroundings
from dynaflex.results.reopen import Moved, reopened
from dynaflex.results.volumes import carried_map
from dynaflex.run.directory import Run
from dynaflex.shapes import FloatArray
from dynaflex.viewer.answers.stage import Stage
from dynaflex.viewer.answers.volumes import pack_volume
from dynaflex.viewer.density.decoder import Decoder

MOST_NODES = 40


class PathMaps:
    """One path at a time: another one, or :meth:`stop`, ends the work on it. Nothing is written."""

    def __init__(self, run: Run, datadir: Path | None) -> None:
        self.run, self._datadir = run, datadir
        self._work: _Work | None = None

    def begin(self, stage: Stage, half: int, latents: FloatArray) -> None:
        """Make the maps of the nodes ``latents`` ``(n k)`` of a half.

        Raises:
            UsageError: there are no nodes, or too many.
        """
        if not 0 < len(latents) <= MOST_NODES:
            raise UsageError("view.frames", "that many maps cannot be made", expected=f"1 to {MOST_NODES} nodes")
        self.stop()
        self._work = _Work(self.run, self._datadir, stage.decoder(half), latents)

    def stop(self) -> None:
        """Make no more of them."""
        if self._work is not None:
            self._work.wanted = False

    def told(self) -> dict[str, Any]:
        """How far the work is: whether it is ``working``, the ``task``, its ``share``, the ``error`` that ended it.

        Of each of the ``nodes`` that are done, what :func:`in_numbers` says, and why it has no map: ``lack``.
        """
        return self._work.told() if self._work is not None else {"working": False, "nodes": [], "error": None}

    def packed(self, node: int) -> bytes:
        """A message with the map of a node, where and as the conformations are shown.

        Raises:
            KeyError: there is none.
        """
        found = self._work.maps[node] if self._work is not None and node < len(self._work.maps) else None
        if found is None:
            raise KeyError(node)
        return found


class _Stopped(Exception):
    """Nobody wants the rest."""


class _Work:
    """The work on one path, in a thread of its own, which listens to how far it is."""

    def __init__(self, run: Run, datadir: Path | None, decoder: Decoder, latents: FloatArray) -> None:
        self.wanted = True
        self.maps: list[bytes | None] = []
        self._nodes: list[dict[str, Any]] = []
        self._task, self._share, self._error = "", 0.0, ""
        self._run, self._datadir, self._decoder, self._latents = run, datadir, decoder, latents
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()

    def told(self) -> dict[str, Any]:
        working = self._thread.is_alive()
        return {
            "working": working, "task": self._task, "share": self._share,
            "nodes": list(self._nodes), "error": self._error or None,
        }  # fmt: skip

    def say(self, message: str) -> None:
        """Nobody reads it."""

    note = warn = say

    def progress(self, task: str, done: float, total: float | None, figures: str = "") -> None:
        """Remember how far the work is, and end it if it is not wanted any more."""
        if not self.wanted:
            raise _Stopped
        self._task, self._share = task, done / total if total else 0.0

    def _go(self) -> None:
        try:
            with tell.listening(self):
                self._make()
        except _Stopped:
            pass
        except DynaflexError as error:
            self._error = f"{error.problem}. {error.fix}." if error.fix else error.problem
        except Exception as error:
            self._error = f"{type(error).__name__}: {error}"

    def _make(self) -> None:
        tell.progress("reading the inputs", 0, None)
        inputs = reopened(self._run, Moved(datadir=self._datadir))
        surroundings = Surroundings(self._run)
        trained = self._decoder.trained
        nodes = [(trained, z) for z in torch.from_numpy(self._latents)]
        made = FromParticles(self._run, inputs, surroundings, nodes, torch.device("cpu"))
        carried = carried_map(self._run, trained)
        for (_, z), around, found in zip(nodes, made.around, made.maps(), strict=True):
            agreement = None if found is None else made.compared(carried.at(z.float()), found)
            told = in_numbers(around, found, agreement)
            self.maps.append(None if found is None else self._packed(found.merged * made.mask))
            plain = {name: value if math.isfinite(value) else None for name, value in told.items()}
            self._nodes.append({**plain, "lack": lack(around)})

    def _packed(self, volume: torch.Tensor) -> bytes:
        """At a contour of its own, which encloses as much as that of the conformations: these maps are noisier."""
        window = self._decoder.window
        header = {"level": self._decoder.molecule.level(volume), "side": self._decoder.side}
        return pack_volume(header, window.cut(volume).numpy(), window)
