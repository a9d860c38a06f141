"""Laws of the states in the report: those that are whole are shown with their numbers, maps and files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dynaflex.io.mrc import write_map
from dynaflex.products.names import STATE
from dynaflex.report import reported
from dynaflex.report.evidence import Evidence
from dynaflex.report.states import reconstructed
from dynaflex.run.directory import Run
from dynaflex.run.results import replaced

BOX = 32


def add_state(run: Path, name: str, finest: float | None) -> Path:
    """A state as ``dynaflex reconstruct`` leaves it: a ball, which is sharper on the right."""
    folder = run / "states" / name
    z, y, x = np.indices((BOX,) * 3) - BOX // 2
    pair = {"deformed": {"0.143": finest}, "rigid": {"0.143": 17.5}}
    said = {
        "what": f"cluster of {name}",
        "particles": {"half1": 31, "half2": 1200},
        "resolution": pair,
        "moving_part": {},
    }
    with replaced(folder, STATE) as staging:
        (staging / "state.json").write_text(json.dumps(said))
        write_map(staging / "map.mrc", np.exp(-(x**2 + y**2 + z**2) / 40.0).astype(np.float32), 4.0)
        write_map(staging / "local_resolution.mrc", (14.0 - 0.1 * x).astype(np.float32), 4.0)
    return folder


def told(run: Path) -> tuple[str, Evidence]:
    shown = Evidence(run)
    return "\n".join(reconstructed(shown)), shown


def test_each_state_has_its_numbers_a_picture_and_its_files(tmp_path: Path) -> None:
    for name, finest in (("open", 9.25), ("closed", None)):
        add_state(tmp_path, name, finest)
    said, shown = told(tmp_path)
    assert "17.5 Å → 9.2 Å" in said and "17.5 Å → –" in said
    assert "1,231" in said and "31 / 1,200" in said and "cluster of closed" in said
    for link in ("states/open/map.mrc", "states/open/state.cxc", "states/closed"):
        assert f'href="{link}"' in said
    assert list(shown.drawings) == ["maps-of-states"] and "<svg" in said


def test_nothing_is_said_where_there_are_none(tmp_path: Path) -> None:
    assert told(tmp_path)[0] == ""


@pytest.mark.parametrize("name", ["state.json", "map.mrc"])
def test_a_state_that_is_not_as_it_was_written_is_left_out(tmp_path: Path, name: str) -> None:
    add_state(tmp_path, "whole", 9.0)
    damaged = add_state(tmp_path, "damaged", 9.0) / name
    damaged.write_bytes(damaged.read_bytes()[:-7])
    said, _ = told(tmp_path)
    assert "cluster of whole" in said and "cluster of damaged" not in said


def test_only_a_report_that_is_there_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    monkeypatch.setattr(reported, "write_report", lambda run, _ending: written.append(run))
    run = Run(tmp_path)
    reported.rewrite(run)
    assert written == []
    (tmp_path / "report.html").write_text("<!doctype html>")
    reported.rewrite(run)
    assert written == [tmp_path]
