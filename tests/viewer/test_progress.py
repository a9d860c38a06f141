"""A run at work is read as it grows."""

from __future__ import annotations

import json
from pathlib import Path

from dynaflex.run import lock
from dynaflex.run.directory import LOCK
from dynaflex.viewer.opened import OpenedRun
from viewer.conftest import begin


def test_metrics_are_read_on_from_where_they_ended(tmp_path: Path) -> None:
    begin(tmp_path, "flex")
    metrics = tmp_path / "metrics.jsonl"
    opened = OpenedRun(tmp_path)
    assert opened.progress(0)["lines"] == [] and opened.state() == ()
    metrics.write_text('{"epoch": 1}\n{"epoch": 2, "x": [1]}\n{"epo')
    first = opened.progress(0)
    assert first["lines"] == [{"epoch": 1}, {"epoch": 2}] and not first["restarted"]
    with metrics.open("a") as stream:
        stream.write('ch": 3}\n')
    assert opened.progress(first["next"])["lines"] == [{"epoch": 3}]
    metrics.write_text('{"epoch": 1}\n')
    again = opened.progress(first["next"])
    assert again["restarted"] and again["lines"] == [{"epoch": 1}]


def test_a_run_is_at_work_while_a_living_process_holds_it(tmp_path: Path) -> None:
    begin(tmp_path, "flex")
    opened = OpenedRun(tmp_path)
    assert not opened.progress(0)["working"]
    with lock.locked(tmp_path / LOCK, lambda _message: None):
        assert opened.progress(0)["working"]
        left = (tmp_path / LOCK).read_text()
    # What a process leaves that was killed: its lock, under a number that nobody has.
    dead = {**json.loads(left), "pid": 2**22 + 1}
    (tmp_path / LOCK).write_text(json.dumps(dead))
    assert not opened.progress(0)["working"]
