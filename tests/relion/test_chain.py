"""Laws of the tasks: RELION's four lines, one after the other, on a few particles, and files where RELION looks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dynaflex.errors import InputError, UsageError
from dynaflex.io.mrc import read_map
from dynaflex.io.star import read_star
from dynaflex.relion import places, tasks
from dynaflex.relion.line import TASKS, read_line
from dynaflex.run.directory import Run
from dynaflex.run.files import FSC
from dynaflex.run.stop import ABORT
from dynaflex.viewer.particles.selections import Selections
from dynaflex.viewer.particles.table import ParticleTable
from relion.jobs import Job, Started

TRAIN, INVERT, BACKPROJECT, EXPLORE = TASKS
JOB = "DynaMight/job001"
MORE = ["--epochs", "2", "--batch-size", "16", "--held-out-fraction", "0.3", "--latent-dim", "2"]
"""What a user types as additional arguments: RELION repeats it in every task."""
CHECKPOINT = ["--checkpoint-file", str(places.FINAL)]
Do = Callable[..., None]


def do(*typed: object) -> None:
    tasks.do(read_line([str(part) for part in typed]))


def train(job: str, *more: object) -> None:
    do(
        TRAIN, "--refinement-star-file", "particles.star", "--output-directory", f"{job}/", "--initial-model",
        "consensus.mrc", "--n-gaussians", 40, "--initial-threshold", -1, "--regularization-factor", 1, "--gpu-id", "0",
        *MORE, *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the inputs of its first job, which has been trained."""
    folder = tmp_path_factory.mktemp("relion") / "project"
    shutil.copytree(few, folder)
    Job(folder, JOB)
    with pytest.MonkeyPatch.context() as context:
        context.chdir(folder)
        train(JOB, "--preload-images")
    return folder


@pytest.fixture(scope="module")
def backprojected(project: Path) -> Path:
    """The same, when its maps have been made too."""
    with pytest.MonkeyPatch.context() as context:
        context.chdir(project)
        do(INVERT, f"{JOB}/", "--n-epochs", 200, "--save-deformations", *MORE)
        do(BACKPROJECT, f"{JOB}/", "--batch-size", 10, *MORE)
    return project


@pytest.fixture
def there(backprojected: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, where RELION was started."""
    monkeypatch.chdir(backprojected)
    return backprojected


def nodes(job: str) -> dict[str, str]:
    table = read_star(Path(job) / "RELION_OUTPUT_NODES.star").blocks["output_nodes"]
    return dict(zip(table["rlnPipeLineNodeName"], table["rlnPipeLineNodeTypeLabel"], strict=True))


def test_a_training_leaves_checkpoints_and_both_densities(project: Path) -> None:
    forward = project / JOB / "forward_deformations"
    assert sorted(path.name for path in (forward / "checkpoints").iterdir()) == ["002.pth", "checkpoint_final.pth"]
    first, second = (read_map(forward / "volumes" / f"volume_half{half}_002.mrc").data for half in (1, 2))
    given = read_map(project / "consensus.mrc").data
    for volume in (first, second):
        assert np.corrcoef(volume.ravel(), given.ravel())[0, 1] > 0.5
    assert not np.array_equal(first, second)


def test_maps_are_where_relion_and_scipion_look(there: Path) -> None:
    run = Path(JOB) / places.RUN
    for half in (1, 2):
        made = Path(JOB) / "backprojection" / f"map_half{half}.mrc"
        assert made.read_bytes() == (run / "maps" / f"map_half{half}.mrc").read_bytes()
        assert len(list(Path(JOB).glob(f"maps/map???_half{half}.mrc"))) == 10
    assert (Path(JOB) / places.INVERSE).is_file()


def test_relion_is_told_what_its_other_jobs_can_take(there: Path) -> None:
    told = nodes(JOB)
    assert all(Path(name).is_file() for name in told)
    assert told[f"{JOB}/backprojection/map.mrc"] == "DensityMap.mrc.relion.dynamight"
    assert told[f"{JOB}/backprojection/mask_reconstruction.mrc"] == "Mask3D.mrc.relion"
    assert told[f"{JOB}/dynaflex/particles.star"] == "ParticleGroupMetadata.star.relion.dynamight"
    assert "LogFile.pdf.relion.dynamight" in told.values()
    # RELION itself knows of the half-maps.
    assert not [name for name in told if "half" in name]


def test_a_job_of_doppio_finds_the_run_by_the_checkpoint_alone(there: Path) -> None:
    for name in (places.FINAL, places.INVERSE):
        (Path("DynaMight/job002") / name).parent.mkdir(parents=True)
        shutil.copy(Path(JOB) / name, Path("DynaMight/job002") / name)
    do(BACKPROJECT, "DynaMight/job002/", "--batch-size", 10, "--checkpoint-file", f"DynaMight/job002/{places.FINAL}")
    mine, first = (Path(job) / "backprojection" / "map.mrc" for job in ("DynaMight/job002", JOB))
    assert mine.read_bytes() == first.read_bytes()


def test_a_protocol_of_scipion_finds_it_through_a_link(there: Path) -> None:
    extra = Path("Runs/000321/extra")
    extra.mkdir(parents=True)
    (extra / "forward_deformations").symlink_to((Path(JOB) / "forward_deformations").absolute())
    do(BACKPROJECT, f"{extra}/", "--batch-size", 1)
    assert (extra / "backprojection" / "map_half2.mrc").is_file()


def test_a_training_that_is_complete_is_not_done_again(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = Run(Path(JOB) / places.RUN).files.fault(FSC), (Path(JOB) / places.RUN / "metrics.jsonl").read_bytes()
    train(JOB)
    assert before == (None, (Path(JOB) / places.RUN / "metrics.jsonl").read_bytes())
    said = capsys.readouterr()
    assert "--resume" in said.out and "\r" not in said.out and "Traceback" not in said.err


def test_a_job_that_was_stopped_is_trained_first(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = "DynaMight/job003"
    _prepare(job)
    do(INVERT, f"{job}/", *MORE)
    assert "goes on first" in capsys.readouterr().out
    assert (Path(job) / places.FINAL).is_file() and (Path(job) / places.INVERSE).is_file()


def test_what_is_no_option_anywhere_is_refused_before_any_work(there: Path) -> None:
    for task in (INVERT, BACKPROJECT, EXPLORE):
        with pytest.raises(UsageError, match=r"--foo bar.*relion.option"):
            do(task, f"{JOB}/", "--latent-dim", 2, "--foo", "bar")
    with pytest.raises(SystemExit) as left:
        train("DynaMight/job004", "--foo")
    assert left.value.code == 2 and not Path("DynaMight/job004").exists()


def test_a_job_without_a_training_says_so(there: Path) -> None:
    with pytest.raises(InputError, match=r"relion.no-run"):
        do(BACKPROJECT, "DynaMight/job005/", *CHECKPOINT)


def test_the_explorer_runs_until_relion_aborts_it_and_leaves_its_selections(there: Path, job: Job) -> None:
    shutil.copytree(Path(JOB) / places.RUN, job.folder / places.RUN)
    particles = ParticleTable(Run(job.folder / places.RUN), shared=False)
    chosen = np.arange(len(particles)) % 3 == 0
    Selections(job.folder / places.RUN).save("a third", chosen, particles, "by hand")
    started: Started = job.start(job.goes_on(EXPLORE, "--half-set", 0, "--idle-hours", 1))
    started.has_begun(lambda: "ssh" in started.out or started.process.poll() is not None)
    assert "http://127.0.0.1:" in started.out and not job.marks(), started.err
    (job.folder / ABORT).touch()
    started.ends()
    assert job.marks() == ["SUCCESS"] and not started.err
    whole, first, second = (
        len(read_star(job.folder / "subsets" / f"subset_1{half}.star").blocks["particles"])
        for half in ("", "_half1", "_half2")
    )
    assert whole == first + second == chosen.sum() and first and second


def test_an_external_job_takes_the_mask_and_a_method(there: Path) -> None:
    job = "External/job006"
    typed = ["--o", f"{job}/", "--in_parts", "particles.star", "--in_3dref", "consensus.mrc", "--in_mask", "mask.mrc"]
    with pytest.raises(UsageError, match=r"dynamight or flex.*relion.method"):
        do(*typed, "--method", "rigid")
    do(*typed, "--method", "flex", "--cells", 6, "--width", 8, "--until", "reconstruct", *MORE)
    told = nodes(job)
    assert all(Path(name).is_file() for name in told)
    assert {f"{job}/{name}" for name, _ in places.RESULTS} <= set(told)
    halves = [name for name, kind in told.items() if kind == "DensityMap.mrc.relion.halfmap"]
    assert [Path(name).name for name in halves] == ["map_half1.mrc", "map_half2.mrc"]
    assert Run(Path(job) / places.RUN).config()["method"] == "flex"


def _prepare(job: str) -> None:
    """A run that was stopped before it was trained."""
    from dynaflex.cli.main import dynaflex

    typed = ["dynamight", "particles.star", "--map", "consensus.mrc", "-o", f"{job}/{places.RUN}", "--until", "prepare"]
    with pytest.raises(SystemExit):
        dynaflex([*typed, "--gaussians", "40", *MORE])
