"""Laws of the doctor: it says what is so, says what to do, and touches nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynaflex import kernels
from dynaflex.run.directory import PAGE, Run
from dynaflex.run.results import REPORT, listed_in
from survival import rewrite

Command = Callable[..., Any]


@pytest.fixture
def run(brief_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(brief_run, tmp_path / "run")
    return tmp_path / "run"


def contents(run: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in run.rglob("*") if path.is_file()}


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def test_a_healthy_run_is_told_its_stage_and_left_alone(run: Path, command: Command) -> None:
    before = contents(run)
    outcome = command("doctor", run)
    assert outcome.code == 0, outcome.err
    assert "complete up to: reconstruct" in outcome.out and "half1_00005" in outcome.out
    assert f"resume it: dynaflex resume {run}" in outcome.out
    (run / "report.html").touch()
    assert "nothing: the run is complete" in command("doctor", run).out
    (run / "report.html").unlink()
    assert contents(run) == before


@pytest.mark.parametrize(
    ("missing", "stage"),
    [("fsc.json", "train"), ("checkpoints/latents2_00000", "prepare"), ("particles.star", "nothing")],
)
def test_the_stage_is_the_last_that_is_complete(run: Path, command: Command, missing: str, stage: str) -> None:
    for name in ("fsc.json", *(["latents.npz"] if stage == "nothing" else []), missing):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    assert f"complete up to: {stage}" in command("doctor", run).out


def test_a_damaged_checkpoint_before_the_last_is_named_and_does_no_harm(run: Path, command: Command) -> None:
    spoil(run / "checkpoints" / "half1_00004" / "state.json")
    outcome = command("doctor", run)
    assert outcome.code == 0
    assert "damaged checkpoint: half1_00004: the SHA-256 of state.json" in outcome.out
    assert "whole checkpoints: half1_00005" in outcome.out and "passed over" in outcome.out


def spoil_checkpoints(run: Path) -> None:
    for path in (run / "checkpoints").glob("half1_*/state.json"):
        spoil(path)


def spoil_map(run: Path) -> None:
    spoil(run / "maps" / "map.mrc")


def spoil_provenance(run: Path) -> None:
    spoil(run / "provenance.json")


def edit_settings(run: Path) -> None:
    path = run / "config.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))


def lose_the_map(run: Path) -> None:
    rewrite(run, "provenance.json", lambda text: text.replace("consensus.mrc", "gone.mrc"))


@pytest.mark.parametrize(
    ("harm", "says", "todo"),
    [
        (spoil_checkpoints, "damaged: no checkpoint of half1 is whole", "put copies"),
        (spoil_map, "damaged: maps/map.mrc", "dynaflex resume"),
        (spoil_provenance, "damaged: provenance.json", "put a copy"),
        (edit_settings, "damaged: config.json", "put copies"),
        (lose_the_map, "input gone: ", "resume it: dynaflex resume"),
    ],
)
def test_harm_is_named_with_what_to_do(
    run: Path, command: Command, harm: Callable[[Path], None], says: str, todo: str
) -> None:
    harm(run)
    outcome = command("doctor", run)
    assert outcome.code == 8, outcome.out
    assert says in outcome.out and f"what to do: {todo}" in outcome.out
    found = json.loads(command("doctor", run, "--json").out)
    assert found["healthy"] is False and found["todo"].startswith(todo)


def test_what_the_doctor_says_to_do_about_a_damaged_map_helps(run: Path, command: Command, brief: Command) -> None:
    whole = (run / "maps" / "map.mrc").read_bytes()
    spoil_map(run)
    (run / "maps" / "map.mrc").unlink()
    (run / "fsc.json").unlink()
    assert brief("--resume", out=run)[1].code == 0
    assert (run / "maps" / "map.mrc").read_bytes() == whole


@pytest.fixture
def reported(run: Path) -> Path:
    """A run with a page and a picture that are listed as they are."""
    listed = listed_in(run, REPORT)
    listed.claim([PAGE, "figures/fsc.png"])
    for name in listed.names():
        (run / name).write_bytes(b"what the run is shown by")
    listed.settle()
    return run


@pytest.mark.parametrize("harm", [spoil, Path.unlink])
@pytest.mark.parametrize("spoiled", [PAGE, "figures/fsc.png", ".dynaflex-report.json"])
def test_a_report_that_is_not_whole_is_named_and_the_run_is_well(
    reported: Path, command: Command, spoiled: str, harm: Callable[[Path], None]
) -> None:
    assert "complete up to: report" in command("doctor", reported).out
    harm(reported / spoiled)
    outcome = command("doctor", reported)
    (note,) = [line for line in outcome.out.splitlines() if line.startswith("note: ")]
    assert outcome.code == 0 and spoiled in note and f"dynaflex resume {reported} makes" in note


def test_what_the_doctor_says_to_do_about_a_report_makes_it_again(reported: Path, command: Command) -> None:
    (reported / "figures" / "fsc.png").unlink()
    assert f"what to do: resume it: dynaflex resume {reported}" in command("doctor", reported).out
    assert command("resume", reported).code == 0
    outcome = command("doctor", reported)
    assert "nothing: the run is complete" in outcome.out and "note: " not in outcome.out
    assert (reported / "figures" / "fsc.png").stat().st_size > 10_000


def test_a_run_at_work_is_waited_for(run: Path, command: Command) -> None:
    with Run.open(run).locked():
        outcome = command("doctor", run)
    assert outcome.code == 0 and "is at work" in outcome.out and "what to do: wait" in outcome.out


def test_machines_are_told_everything(run: Path, command: Command) -> None:
    found = json.loads(command("doctor", run, "--json").out)
    assert found["stage"] == "reconstruct" and found["healthy"] is True
    assert found["free"] > found["size"] > 100_000
    assert set(found["checkpoints"].values()) == {None} and len(found["checkpoints"]) == 6
    assert found["versions"]["then"] == found["versions"]["now"]


def test_what_computed_the_run_is_named_and_so_is_what_went_on_with_it(
    run: Path, command: Command, brief: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kernels.described("cpu")
    assert json.loads((run / "provenance.json").read_text())["kernels"] == [first]
    assert f"kernels: {first}\n" in command("doctor", run).out
    (run / "fsc.json").unlink()
    monkeypatch.setenv("DYNAFLEX_KERNELS", "reference")
    for _ in range(2):
        assert brief("--resume", out=run)[1].code == 0
    then = kernels.described("cpu")
    assert json.loads(command("doctor", run, "--json").out)["kernels"] == [first, then]
    assert f"kernels: {first}, then {then}\n" in command("doctor", run).out
