"""Laws of checkpoints that lead to a run: they do so wherever workflow programs copy, link or move them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dynaflex.errors import InputError
from dynaflex.relion.places import FINAL, INVERSE, RUN
from dynaflex.relion.pointer import followed, write_pointer
from dynaflex.run.directory import Run
from survival import rewrite


@pytest.fixture
def project(tmp_path: Path, brief_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which a job was trained."""
    folder = tmp_path / "project"
    job = folder / "DynaMight" / "job001"
    shutil.copytree(brief_run, job / RUN)
    monkeypatch.chdir(folder)
    for name in (FINAL, INVERSE):
        write_pointer(Path("DynaMight/job001") / name, Run.open(Path("DynaMight/job001") / RUN))
    return folder


FIRST, SECOND = Path("DynaMight/job001"), Path("DynaMight/job002")


def test_it_is_a_small_text(project: Path) -> None:
    for name in (FINAL, INVERSE):
        assert (FIRST / name).stat().st_size < 1000 and "dynaflex" in (FIRST / name).read_text()


def test_it_leads_from_where_it_lies(project: Path) -> None:
    assert followed(FIRST / FINAL).path.samefile(FIRST / RUN)


def test_a_copy_of_the_file_alone_leads_back(project: Path) -> None:
    """As Doppio makes it for a later job."""
    (SECOND / FINAL).parent.mkdir(parents=True)
    shutil.copy(FIRST / FINAL, SECOND / FINAL)
    assert followed(SECOND / FINAL).path.samefile(FIRST / RUN)


def test_a_link_to_its_folder_leads_back(project: Path) -> None:
    """As Scipion makes it for a later protocol."""
    extra = Path("Runs/000321_ProtRelionDynaMight/extra")
    extra.mkdir(parents=True)
    (extra / "forward_deformations").symlink_to((FIRST / "forward_deformations").absolute())
    assert followed(extra / FINAL).path.samefile(FIRST / RUN)


def test_a_copy_of_the_whole_job_has_its_own_run(project: Path) -> None:
    shutil.copytree(FIRST, SECOND)
    assert followed(SECOND / FINAL).path.samefile(SECOND / RUN)
    shutil.rmtree(FIRST)
    assert followed(SECOND / FINAL).path.samefile(SECOND / RUN)


def test_a_project_that_was_moved_keeps_both(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test_a_copy_of_the_file_alone_leads_back(project)
    project.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    for job in (FIRST, SECOND):
        assert followed(job / FINAL).path.samefile(FIRST / RUN)


def test_another_run_in_its_place_is_not_taken_for_it(project: Path) -> None:
    rewrite(FIRST / RUN, "provenance.json", lambda text: text.replace('"sha256": "', '"sha256": "0'))
    with pytest.raises(InputError, match=r"another run.*relion.run-gone"):
        followed(FIRST / FINAL)
    shutil.rmtree(FIRST / RUN)
    with pytest.raises(InputError, match=r"nothing there.*relion.run-gone"):
        followed(FIRST / FINAL)


@pytest.mark.parametrize("content", [None, b"PK\x03\x04 a checkpoint of PyTorch", b"[]", b'{"run": "x"}'])
def test_what_is_no_such_file_is_called_so(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint_final.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"relion.foreign-checkpoint"):
        followed(path)
