from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from dynaflex.errors import EnvironmentFault, ResourceError
from dynaflex.io.durable import sha256, write_bytes, write_json, write_npz, write_stream, write_text


def test_contents_survive(tmp_path: Path) -> None:
    write_bytes(tmp_path / "b", b"\x00\xff")
    write_text(tmp_path / "t", "Å\n")
    write_json(tmp_path / "j", {"x": np.float32(0.5), "n": np.arange(3), "p": tmp_path})
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"
    assert (tmp_path / "t").read_text(encoding="utf-8") == "Å\n"
    assert json.loads((tmp_path / "j").read_text()) == {"x": 0.5, "n": [0, 1, 2], "p": str(tmp_path)}


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "j", {"x": float("nan")})


def test_equal_arrays_give_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"b": np.arange(6).reshape(2, 3), "a": np.linspace(0, 1, 5)}
    write_npz(tmp_path / "1.npz", **arrays)
    monkeypatch.setattr("time.time", lambda: 2e9)
    write_npz(tmp_path / "2.npz", **dict(reversed(arrays.items())))
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()
    with np.load(tmp_path / "1.npz", allow_pickle=False) as archive:
        assert set(archive) == {"a", "b"}
        for name, array in arrays.items():
            np.testing.assert_array_equal(archive[name], array)


def test_no_pickle_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        write_npz(tmp_path / "o.npz", o=np.array([{}], dtype=object))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "x"
    write_text(target, "old")

    def broken(stream: BinaryIO) -> None:
        stream.write(b"half of the new")
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(EnvironmentFault):
        write_stream(target, broken)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_every_step_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    target = tmp_path / "x"
    write_text(target, "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"dynaflex.io.durable.os.{call}", full)
    with pytest.raises(ResourceError, match="free space") as caught:
        write_text(target, "new")
    assert caught.value.identifier == "output.disk-full"
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("where", ["no/such/folder/x", "file/x", "folder"])
def test_unwritable_output_is_named_with_a_remedy(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(EnvironmentFault) as caught:
        write_text(tmp_path / where, "x")
    assert caught.value.exit_code == 4
    assert where in str(caught.value)
    assert caught.value.fix


def test_new_files_obey_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "x", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_sha256_is_that_of_the_contents(tmp_path: Path) -> None:
    write_bytes(tmp_path / "x", b"abc" * 100_000)
    assert sha256(tmp_path / "x") == hashlib.sha256(b"abc" * 100_000).hexdigest()
