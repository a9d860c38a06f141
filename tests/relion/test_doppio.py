"""Laws of the job in Doppio: its form becomes a line that the program understands.

Where no CCP-EM Pipeliner is installed there is nothing to test."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest.importorskip("pipeliner", reason="ccpem-pipeliner is not installed")

from dynaflex.relion.doppio import FlexibilityJob
from dynaflex.relion.line import EXTERNAL, Line, read_line
from dynaflex.relion.parent import PROGRAM
from dynaflex.relion.places import REPORT, RESULTS

FOLDER = "Dynaflex/job004/"


def job_of(**fields: str) -> FlexibilityJob:
    """A form that is filled in."""
    job = FlexibilityJob()
    job.output_dir = FOLDER
    for name, value in {"fn_parts": "run_data.star", "fn_map": "run.mrc", **fields}.items():
        job.joboptions[name].value = value
    return job


def line_of(**fields: str) -> Line:
    """The line of a form, as the program reads it."""
    (command,) = job_of(**fields).get_commands()
    program, *typed = command.cmd
    assert program == PROGRAM
    return read_line([str(part) for part in typed])


def test_the_pipeliner_finds_it() -> None:
    (found,) = entry_points(group="ccpem_pipeliner.jobs", name=FlexibilityJob.PROCESS_NAME)
    assert found.load() is FlexibilityJob


@pytest.mark.parametrize(("method", "name"), [("3DFlex", "flex"), ("DynaMight", "dynamight")])
def test_its_form_becomes_the_line_of_an_external_job(method: str, name: str) -> None:
    line = line_of(method=method, fn_mask="mask.mrc", nr_threads="3", gpu_ids="1", other_args="--epochs 7 --seed 2")
    assert (line.task, line.job, line.threads, line.gpus) == (EXTERNAL, Path(FOLDER), 3, [1])
    values = [line.value(option) for option in ("in-parts", "in-3dref", "in-mask", "method")]
    assert values == ["run_data.star", "run.mrc", "mask.mrc", name]
    assert line.rest == ("--latent-dim", "2", "--epochs", "7", "--seed", "2")


def test_what_is_left_empty_is_not_typed() -> None:
    line = line_of()
    assert line.value("in-mask") is None and line.gpus == [] and "--mesh" not in line.rest


def test_only_3dflex_has_a_mesh() -> None:
    assert "--mesh" in line_of(method="3DFlex", fn_mesh="mesh.npz").rest
    assert "--mesh" not in line_of(method="DynaMight", fn_mesh="mesh.npz").rest


def test_its_results_are_outputs_and_the_report_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    job = job_of()
    job.create_output_nodes()
    assert [node.name for node in job.output_nodes] == [FOLDER + file for file, _ in RESULTS]
    assert sum("halfmap" in node.type for node in job.output_nodes) == 2
    report = tmp_path / FOLDER / REPORT
    report.parent.mkdir(parents=True)
    report.write_text("<!doctype html>")
    (shown,) = job.create_results_display()
    assert (shown.dobj_type, shown.html_file) == ("html", FOLDER + REPORT)
