"""What a scheduler or a container leaves of a machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dynaflex import machine
from dynaflex.kernels import native
from dynaflex.prepare.device import with_threads

GIB = 2**30


@pytest.fixture(autouse=True)
def thirty_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 30 cores and 64 GiB whose control groups are files of the test."""
    (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {64 * GIB // 1024} kB\n")
    monkeypatch.setattr(machine, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "_OWN", tmp_path / "own")
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(30)), raising=False)


def grouped(folder: Path, own: str, **files: str) -> None:
    (folder / "own").write_text(own)
    for name, text in files.items():
        path = folder / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_without_control_groups_all_is_available() -> None:
    assert machine.available_cores() == 30 and machine.available_memory() == 64 * GIB


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "max 100000"}, 30),
        ("0::/\n", {"cpu.max": "350000 100000"}, 3),
        ("0::/\n", {"cpu.max": "50000 100000"}, 1),
        ("0::/job/step\n", {"job/step/cpu.max": "max 100000", "job/cpu.max": "400000 100000"}, 4),
        ("0::/seen/from/outside\n", {"cpu.max": "200000 100000"}, 2),
        (
            "2:cpuacct,cpu:/job\n0::/\n",
            {"cpu/job/cpu.cfs_quota_us": "800000", "cpu/job/cpu.cfs_period_us": "100000"},
            8,
        ),
        ("2:cpu:/job\n", {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}, 30),
    ],
)
def test_a_quota_leaves_fewer_cores(tmp_path: Path, own: str, files: dict[str, str], cores: int) -> None:
    grouped(tmp_path, own, **files)
    assert machine.available_cores() == cores


def test_affinity_leaves_fewer_cores_than_a_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grouped(tmp_path, "0::/\n", **{"cpu.max": "800000 100000"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 5})
    assert machine.available_cores() == 2


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/a\n", {"a/memory.max": f"{8 * GIB}", "a/memory.current": f"{6 * GIB}",
                     "a/memory.stat": f"anon 1\ninactive_file {GIB}\n"}),
        ("5:memory:/a\n", {"memory/a/memory.limit_in_bytes": f"{8 * GIB}",
                           "memory/a/memory.usage_in_bytes": f"{5 * GIB}"}),
    ],
)  # fmt: skip
def test_a_limit_leaves_less_memory_and_files_give_theirs_back(tmp_path: Path, own: str, files: dict[str, str]) -> None:
    grouped(tmp_path, own, **files)
    assert machine.available_memory() == 3 * GIB


def test_threads_are_given_back() -> None:
    before = native.threads()
    with with_threads(before + 3):
        assert native.threads() == before + 3
        with with_threads():
            assert native.threads() == before + 3
    assert native.threads() == before
