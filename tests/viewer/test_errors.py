"""Every error of the explorer, met once, under its identifier."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaflex.errors import DynaflexError
from dynaflex.run.directory import Run
from dynaflex.viewer.answers.counterparts import with_counterparts
from dynaflex.viewer.answers.wire import unpack
from dynaflex.viewer.opened import OpenedRun
from dynaflex.viewer.particles.selections import Selections
from dynaflex.viewer.particles.table import ParticleTable
from dynaflex.viewer.questions import choice
from dynaflex.viewer.serve import Address
from viewer.conftest import PARTICLES, Explorer, make_hollow


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_hollow(tmp_path / "run")


def save(run: Path, name: str = "a", chosen: int = 1) -> None:
    Selections(run).save(name, np.arange(PARTICLES) < chosen, ParticleTable(Run(run), False), "")


def taken(run: Path) -> None:
    save(run, " twice ")
    save(run, "twice")


def elsewhere(run: Path) -> None:
    (run / "elsewhere").mkdir()
    (run / "selections").symlink_to(run / "elsewhere")
    save(run)


def unwritable(run: Path) -> None:
    (run / "selections").write_text("a file where the folder would be")
    save(run)


def full(run: Path) -> None:
    (run / "selections").mkdir()
    for number in range(1, 1000):
        (run / "selections" / f"selection_{number:03d}.json").touch()
    save(run)


def damaged(run: Path) -> None:
    (run / "latents.npz").write_bytes(b"PK\x03\x04")
    OpenedRun(run).particles()


def none_yet(run: Path) -> None:
    (run / "latents.npz").unlink()
    OpenedRun(run).particles()


def port_taken(_run: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        Address(port=holder.getsockname()[1]).listen()


MADE: dict[str, Callable[[Path], object]] = {
    "view.selection-name": lambda run: save(run, " "),
    "view.selection-size": lambda _run: choice(b"\1\1", 7),
    "view.rows": lambda run: OpenedRun(run).averages(np.zeros(PARTICLES, bool), 9.0),
    "view.counterparts": lambda run: with_counterparts(OpenedRun(run).stage(), np.ones(PARTICLES, bool)),
    "view.motion-unknown": lambda run: with_counterparts(OpenedRun(run).stage(), np.arange(PARTICLES) == 0),
    "view.selection-empty": lambda run: save(run, chosen=0),
    "view.selection-taken": taken,
    "view.selections-elsewhere": elsewhere,
    "view.selections-unwritable": unwritable,
    "view.selections-full": full,
    "run.damaged-file": damaged,
    "view.no-latents": none_yet,
    "view.frames": lambda run: OpenedRun(run).conformations().path_along(1, "component1", 1),
    "view.stops": lambda run: OpenedRun(run).conformations().dense_path(1, 9, np.zeros((1, 3), np.float32)),
    "view.half": lambda run: OpenedRun(run).conformations().at(3, ("component1", "component2"), (0.0, 0.0)),
    "view.message": lambda _run: unpack(b"\x10\x00\x00\x00{}"),
    "view.host": lambda _run: Address("0.0.0.0").listen(),
    "view.address": port_taken,
    "view.socket": lambda run: Address(path=run / "config.json").listen(),
}


@pytest.mark.parametrize("identifier", MADE)
def test_an_error_carries_its_identifier(run: Path, identifier: str) -> None:
    with pytest.raises(DynaflexError) as caught:
        MADE[identifier](run)
    assert caught.value.identifier == identifier
    assert "Traceback" not in str(caught.value)


def test_latents_of_another_model_are_refused(brief_run: Path) -> None:
    for z in (np.zeros(99, np.float32), np.full(6, np.nan, np.float32)):
        with pytest.raises(DynaflexError) as caught:
            OpenedRun(brief_run).conformations().of(1, z)
        assert caught.value.identifier == "view.latents-shape"


@pytest.mark.parametrize(
    ("path", "identifier"),
    [
        ("/api/progress?since=-1", "view.number"),
        ("/api/path?half=1&axis=x&frames=3", "view.axis"),
        ("/api/conformation?half=1&x=component1&y=component2&at=1,two", "view.numbers"),
        ("/api/conformation?half=1&x=component1&y=component2&at=1,2,3", "view.numbers"),
        ("/api/places?half=1&x=component1&y=component2&z=1,2,3;4,5", "view.numbers"),
        ("/api/places?half=1&x=component1&y=component2&z=", "view.latents-shape"),
        ("/api/dense_path?half=1&frames=9&through=1,2;3,4", "view.latents-shape"),
        ("/api/dense_path?half=1&frames=1", "view.frames"),
    ],
)
def test_a_question_is_told_what_is_wrong_with_it(explorer: Explorer, path: str, identifier: str) -> None:
    status, body, _ = explorer.ask(path, headers=explorer.mine())
    assert status == 400 and json.loads(body)["id"] == identifier


def test_without_its_libraries_the_explorer_says_what_to_install(
    run: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("dynaflex.viewer.se")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    outcome = command("view", run)
    assert outcome.code == 4 and "[view.not-installed]" in outcome.error_line()
    assert "pip install 'dynaflex[view]'" in outcome.error_line()
