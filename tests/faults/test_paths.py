"""Rows I of the list: where the images are."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynaflex.data.particles import read_particles
from dynaflex.io import mrc_header
from faults.harness import Command, Fault, Toy, prove

GOOD = ("particles: 120 used", "images read: 120", "nothing wrong")


def images_gone(toy: Toy) -> list[object]:
    toy.stack.unlink()
    return toy.check()


def named(name: str) -> Callable[[Toy], None]:
    def rename(toy: Toy) -> None:
        toy.edit(lambda text: text.replace("@particles.mrcs", f"@{name}"))

    return rename


def many_gone(toy: Toy) -> list[object]:
    def spread(table: Any) -> Any:
        names = [f"000001@job/m{i}.mrcs" if i < 50 else name for i, name in enumerate(table["rlnImageName"])]
        return table.assign(rlnImageName=names)

    toy.change(spread)
    return toy.check()


def in_another_project(toy: Toy) -> list[object]:
    named("Extract/job001/p.mrcs")(toy)
    (toy.folder / "project" / "Extract" / "job001").mkdir(parents=True)
    toy.stack.rename(toy.folder / "project" / "Extract" / "job001" / "p.mrcs")
    return toy.check()


def marked(toy: Toy) -> list[object]:
    named(">particles.mrcs")(toy)
    return toy.check()


def outside(toy: Toy) -> list[object]:
    (toy.folder.parent / "raw").mkdir()
    toy.stack.rename(toy.folder.parent / "raw" / "p.mrcs")
    named("../raw/p.mrcs")(toy)
    return toy.check()


def absolute(toy: Toy) -> list[object]:
    (toy.folder.parent / "raw").mkdir()
    toy.stack.rename(toy.folder.parent / "raw" / "p.mrcs")
    named(str(toy.folder.parent / "raw" / "p.mrcs"))(toy)
    return toy.check()


def shortened(toy: Toy) -> list[object]:
    named("/home/somebody/Extract/job001/particles.mrcs")(toy)
    return toy.check()


def linked(toy: Toy) -> list[object]:
    (toy.folder.parent / "disk").mkdir()
    shutil.move(toy.stack, toy.folder.parent / "disk" / "particles.mrcs")
    toy.stack.symlink_to(toy.folder.parent / "disk" / "particles.mrcs")
    return toy.check()


def link_broken(toy: Toy) -> list[object]:
    toy.stack.unlink()
    toy.stack.symlink_to("/mnt/archive/particles.mrcs")
    return toy.check()


def link_in_a_circle(toy: Toy) -> list[object]:
    toy.stack.unlink()
    toy.stack.symlink_to(toy.folder / "other.mrcs")
    (toy.folder / "other.mrcs").symlink_to(toy.stack)
    return toy.check()


def two_jobs(toy: Toy) -> list[object]:
    """Two names end alike, and one file with that ending lies beside the table."""

    def rename(table: Any) -> Any:
        jobs = [name.replace("@", f"@Extract/job00{1 + i % 2}/") for i, name in enumerate(table["rlnImageName"])]
        return table.assign(rlnImageName=jobs)

    toy.change(rename)
    return toy.check()


def two_files(toy: Toy) -> list[object]:
    """The name leads to a file beside the table, and to another above it."""
    named("job/particles.mrcs")(toy)
    for folder in (toy.folder / "job", toy.folder.parent / "job"):
        folder.mkdir()
        shutil.copy(toy.stack, folder / "particles.mrcs")
    return toy.check()


def some_used(toy: Toy) -> list[object]:
    toy.change(lambda table: table.iloc[:90])
    return toy.check()


FAULTS = [
    Fault("I-01", "no image file", images_gone, 3, ("particles.star", "1 of 1 image files not found", "--datadir")),
    Fault("I-01", "many files gone", many_gone, 3,
          ("50 of 51 image files not found: job/m0.mrcs, job/m1.mrcs, job/m2.mrcs …",
           "in one of: /", "--datadir")),
    Fault("I-01", "the project is elsewhere", in_another_project, 3,
          ("particles.star", "Extract/job001/p.mrcs", "toy/project")),
    Fault("I-02", "cryoSPARC's mark of its project", marked, 0, GOOD),
    Fault("I-03", "a path out of the project", outside, 0, GOOD),
    Fault("I-03", "an absolute path", absolute, 0, GOOD),
    Fault("I-03", "the path of another machine", shortened, 0, GOOD),
    Fault("I-04", "a link to another disk", linked, 0, GOOD),
    Fault("I-04", "a broken link", link_broken, 3,
          ("column rlnImageName", "leads to /mnt/archive/particles.mrcs, which is not there", "mount the disk")),
    Fault("I-04", "links in a circle", link_in_a_circle, 3,
          ("column rlnImageName", "other.mrcs, which is not there", "correct the link")),
    Fault("I-05", "two names that end alike", two_jobs, 3,
          ("Extract/job001/particles.mrcs and Extract/job002/particles.mrcs", "two names lead to the file",
           "--datadir")),
    Fault("I-05", "two files of one name", two_files, 3,
          ("2 different files may be meant by job/particles.mrcs", "toy/job/particles.mrcs and", "--datadir")),
    Fault("I-07", "a stack with more images than are used", some_used, 0,
          ("particles: 90 used", "120 in ", "nothing wrong")),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.row}-{fault.given}")
def test_fault(fault: Fault, toy: Toy, command: Command) -> None:
    prove(fault, toy, command)


def test_I_03_what_is_found_is_recorded_where_it_lies(toy: Toy) -> None:
    outside(toy)
    assert [path.resolve() for path in read_particles(toy.particles).image_paths] == [
        (toy.folder.parent / "raw" / "p.mrcs").resolve()
    ]


def test_I_06_a_file_that_may_not_be_read(toy: Toy, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal of the system is played."""

    def refuse(path: Path, *mode: object) -> object:
        if Path(path) == toy.stack:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open(path, *mode)  # type: ignore[call-overload]

    monkeypatch.setattr(mrc_header, "open", refuse, raising=False)
    outcome = command(*toy.check())
    assert outcome.code == 3
    for words in (str(toy.stack), "Permission denied", "the permissions of the file"):
        assert words in outcome.out + outcome.err
