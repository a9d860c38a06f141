"""Laws of RELION's lines: whichever program typed them, and however it spells them, they mean the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynaflex.errors import UsageError
from dynaflex.relion.line import EXTERNAL, TASKS, job_of, read_line

JOB = "DynaMight/job012/"
TRAIN = [
    "optimize-deformations", "--refinement-star-file", "Refine3D/job005/relion_data.star", "--output-directory", JOB,
    "--initial-model", "Refine3D/job005/run class001.mrc", "--n-gaussians", "10000", "--regularization-factor", "1",
    "--n-threads", "4",
]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "gpus"),
    [
        ([], []),
        (["--gpu-id"], []),
        (["--gpu-id", ""], []),
        (["--gpu-id", "0"], [0]),
        (["--gpu-id=1"], [1]),
        (["--gpu-id", "0,1"], [0, 1]),
        (["--gpu-id", "0:1"], [0, 1]),
        (["--gpu-id", "0", "--gpu-id", "1"], [0, 1]),
        (["--gpu-id", "-1"], []),
        (["--gpu-id", '"0,1"'], [0, 1]),
        (["--gpu_id", "2"], [2]),
    ],
)
@pytest.mark.parametrize("control", [[], ["--pipeline-control", JOB], ["--pipeline_control", JOB]])
def test_gpus_are_named_in_many_ways(typed: list[str], gpus: list[int], control: list[str]) -> None:
    line = read_line([*TRAIN, *typed, "--preload-images", *control])
    assert line.gpus == gpus and line.threads == 4 and not line.rest
    assert line.value("initial-model") == "Refine3D/job005/run class001.mrc"


NOT_MEANT = {
    "relion.gpu": [*TRAIN, "--gpu-id", "cuda:0"],
    "relion.number": [*TRAIN, "--initial-threshold", "low"],
    "relion.count": [*TRAIN, "--n-threads", "1.5"],
    "relion.missing": [*TRAIN, "--initial-model", ""],
    "relion.no-value": [*TRAIN, "--n-epochs", "--preload-images"],
    "relion.no-job": ["explore-latent-space", "--gpu-id", "0"],
    "relion.task": ["optimise-deformations", JOB],
}


@pytest.mark.parametrize("identifier", NOT_MEANT)
def test_what_cannot_be_meant_is_refused(identifier: str) -> None:
    def meant() -> tuple[object, ...]:
        line = read_line(NOT_MEANT[identifier])
        return line.gpus, line.threads, line.number("initial-threshold"), line.required("initial-model")

    with pytest.raises(UsageError) as refused:
        meant()
    assert refused.value.identifier == identifier


@pytest.mark.parametrize("typed", ["many", "0", "1.5", "nan", "inf"])
def test_what_counts_is_a_whole_number_by_the_name_that_was_typed(typed: str) -> None:
    with pytest.raises(UsageError, match=f"--n-gaussians cannot be '?{typed}"):
        read_line([*TRAIN, "--n-gaussians", typed]).whole("n-gaussians")


def test_a_device_that_is_no_number_is_told_as_it_was_typed() -> None:
    with pytest.raises(UsageError, match="'cuda:x'"):
        read_line([*TRAIN, "--gpu-id", "cuda:x"]).gpus  # noqa: B018


@pytest.mark.parametrize("task", TASKS[1:])
def test_a_job_that_is_continued_is_named_first(task: str) -> None:
    line = read_line([task, JOB, "--half-set", "1", "--gpu-id", "0", "--epochs", "3", "--pipeline-control", JOB])
    assert line.job == Path(JOB) and line.rest == ("--epochs", "3")


@pytest.mark.parametrize("task", TASKS)
def test_what_was_typed_for_the_training_is_understood_in_every_task(task: str) -> None:
    """RELION has one field for additional arguments, and repeats them."""
    more = ["--n-latent-dimensions", "4", "--mask-file", "mask.mrc", "--n-workers", "8"]
    line = read_line([*TRAIN, *more] if task == TASKS[0] else [task, JOB, *more])
    assert not line.rest and "--n-workers" in line.unneeded
    assert ("--mask-file" in line.unneeded) == (task != TASKS[0])


def test_the_line_of_an_external_job_names_no_task() -> None:
    typed = [
        "--o", "External/job003/", "--in_parts", "p.star", "--in_3dref", "m.mrc", "--method", "flex",
        "--train_box", "64", "--skip_check", "--j", "6", "--pipeline_control", "External/job003/",
    ]  # fmt: skip
    line = read_line(typed)
    assert (line.task, line.job, line.threads) == (EXTERNAL, Path("External/job003"), 6)
    assert line.rest == ("--train-box", "64", "--skip-check")
    assert line.required("in-parts") == "p.star" and line.value("in-mask") is None
    with pytest.raises(UsageError, match="--in_parts"):
        read_line(["--o", "x", "--method", "flex"]).required("in-parts")


@pytest.mark.parametrize(
    ("typed", "folder", "asked_for"),
    [
        (TRAIN, JOB, False),
        ([*TRAIN, "--pipeline-control", JOB], JOB, True),
        (["deformable-backprojection", JOB, "--no-such-option"], JOB, False),
        (["no-such-task", "--pipeline_control=other/"], "other/", True),
        (["--o", "External/job003/", "--in_parts"], "External/job003/", False),
        (["explore-latent-space", "--help"], None, False),
        ([], None, False),
    ],
)
def test_the_folder_of_the_job_is_found_whatever_else_is_wrong(
    typed: list[str], folder: str | None, asked_for: bool
) -> None:
    assert job_of(typed) == (None if folder is None else Path(folder), asked_for)
