"""A run in training is what its newest checkpoints hold, for the particles that they are of."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dynaflex.errors import UsageError
from dynaflex.results.trained import load_half
from dynaflex.run.directory import Run
from dynaflex.run.watched import WatchedRun
from dynaflex.viewer.answers.unfinished import Training
from dynaflex.viewer.answers.wire import unpack
from dynaflex.viewer.opened import OpenedRun
from survival import rewrite
from viewer.in_training import another_epoch, stop, unfinished

Brief = Callable[..., tuple[Path, object]]


@pytest.fixture(scope="module", params=["dynamight", "flex", "shared"])
def done(request: pytest.FixtureRequest, brief_of: Brief) -> Path:
    if request.param == "dynamight":
        return Path(request.getfixturevalue("brief_run"))
    return brief_of("flex", *(("--half-sets", "shared") if request.param == "shared" else ()))[0]


def trained(done: Path) -> tuple[int, ...]:
    return (0,) if (json.loads((done / "config.json").read_text())["half_sets"]) == "shared" else (1, 2)


def test_particles_and_latents_are_those_of_the_checkpoints(done: Path, tmp_path: Path) -> None:
    run = unfinished(done, tmp_path / "run", dict.fromkeys(trained(done), 3))
    halves = Training(WatchedRun(run)).halves()
    assert set(halves) == {1, 2}
    for half, found in halves.items():
        expected = load_half(Run(done), half)
        torch.testing.assert_close(found.rows, expected.rows)
        name = f"half{half if 0 not in trained(done) else 0}"
        tensors, _ = Run(done).require_checkpoint(name)
        table = tensors["model.latents.table.weight"]
        every = np.sort(np.concatenate([load_half(Run(done), one).rows.numpy() for one in (1, 2)]))
        place = np.searchsorted(every if name == "half0" else expected.rows.numpy(), expected.rows.numpy())
        torch.testing.assert_close(found.latents.mean, table[place].chunk(2, dim=1)[0])


def test_a_training_is_explored_like_a_run(done: Path, tmp_path: Path) -> None:
    run = unfinished(done, tmp_path / "run", dict.fromkeys(trained(done), 3))
    opened = OpenedRun(run)
    about = opened.summary()
    assert about["training"] and about["particles"]["count"] == len(OpenedRun(done).particles())
    asked = opened.conformations()
    z = np.array(asked.path_along(1, "motion1", 3)[-1], np.float32)
    header, _ = unpack(asked.packed(1, asked.of(1, z), "coarse", "displacement", ("parts",)))
    assert header["made"] == "model" and header["layers"] == ["density", "colour", "parts"]
    assert not (set(run.rglob("*")) - set((tmp_path / "run").rglob("*")))


def test_before_the_second_half_only_the_first_is_there(brief_run: Path, tmp_path: Path) -> None:
    run = unfinished(brief_run, tmp_path / "run", {1: 2})
    opened = OpenedRun(run)
    assert opened.particles().halves == [1] and opened.summary()["particles"]["halves"] == [1]
    assert opened.stage().motion is not None
    with pytest.raises(UsageError, match=r"view\.half"):
        opened.conformations().parts(2)


def test_every_checkpoint_is_seen(brief_run: Path, tmp_path: Path) -> None:
    run = unfinished(brief_run, tmp_path / "run", {1: 2})
    opened = OpenedRun(run)
    before, state = opened.particles().mean, opened.state()
    another_epoch(run, 1, 2.0)
    assert opened.state() != state
    np.testing.assert_allclose(opened.particles().mean, 2.0 * before, rtol=1e-6)


def test_excluded_particles_are_not_among_them(brief_run: Path, tmp_path: Path) -> None:
    run = unfinished(brief_run, tmp_path / "run", {1: 2, 2: 2})
    provenance = json.loads((run / "provenance.json").read_text())
    table = (run / "particles.star").read_text().splitlines(keepends=True)
    last = max(i for i, line in enumerate(table) if "@" in line)
    # One more row that is not used, in the middle of the table.
    rewrite(run, "particles.star", lambda _: "".join([*table[: last - 40], table[last], *table[last - 40 :]]))
    first = next(i for i, line in enumerate(table) if "@" in line)
    row = last - 40 - first
    provenance["counts"]["excluded"] = [{"row": row, "reason": "for the test"}]
    rewrite(run, "provenance.json", lambda _: json.dumps(provenance))
    rows = OpenedRun(run).particles().rows
    assert row not in rows and len(rows) == len(OpenedRun(brief_run).particles())


def test_an_encoder_has_no_latents_before_its_end(brief: Brief, tmp_path: Path) -> None:
    done, _ = brief("--latents", "encoder", "--until", "train")
    run = unfinished(done, tmp_path / "run", {1: 2})
    about = OpenedRun(run).summary()
    assert about["particles"] is None and "encoder" in " ".join(about["notices"])


def test_it_says_how_far_it_is_and_how_it_goes_on(brief_run: Path, tmp_path: Path) -> None:
    run = unfinished(brief_run, tmp_path / "a run's folder", {1: 2})
    told = Training(WatchedRun(run)).told()
    assert told == {"working": True, "epochs": 5, "found": False, "resumed": None}
    stop(run)
    resumed = Training(WatchedRun(run)).told()["resumed"]
    assert shlex.split(resumed) == ["dynaflex", "resume", str(run)]
    assert Training(WatchedRun(brief_run)).told()["resumed"] is None


def test_epochs_that_nobody_chose_are_those_that_the_training_says_last(brief_run: Path, tmp_path: Path) -> None:
    run = unfinished(brief_run, tmp_path / "run", {1: 2})
    settings = json.loads((run / "config.json").read_text())
    rewrite(run, "config.json", lambda _: json.dumps({**settings, "epochs": None}))
    (run / "metrics.jsonl").write_text('{"epochs": 16}\n{"epochs": 20}\n[]\n{"epoch": 1}\n{"epochs": 24')
    assert Training(WatchedRun(run)).told()["epochs"] == 20
    (run / "metrics.jsonl").unlink()
    assert Training(WatchedRun(run)).told()["epochs"] is None
