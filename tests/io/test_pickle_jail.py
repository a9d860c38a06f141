"""Laws of the jail: what is in it can do nothing, even if it gets to run."""

from __future__ import annotations

import json
import pickle  # noqa: TID251  (to fill the jail)
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dynaflex.errors import InputError
from dynaflex.io.foreign import pickle_jail
from dynaflex.io.foreign.pickle_jail import load_arrays_jailed


def test_arrays_come_out_as_they_went_in(tmp_path: Path) -> None:
    arrays = (np.arange(6.0).reshape(2, 3), np.array([True, False]), np.zeros((0, 2), dtype=np.float32))
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(arrays))
    out = load_arrays_jailed(tmp_path / "a.pkl")
    for ours, theirs in zip(out, arrays, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(arrays[0]))
    np.testing.assert_array_equal(load_arrays_jailed(tmp_path / "b.pkl")[0], arrays[0])


@pytest.mark.parametrize(
    "attempt",
    [
        "print('x' * 9, file=open({path!r}, 'w'), flush=True)",
        "bytearray(2**33)",
        "[open('/dev/null') for _ in range(30)]",
        "print(os.environ['SECRET'])",
    ],
)
def test_code_that_did_get_to_run_could_do_nothing(
    tmp_path: Path, attempt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader is replaced by code that tries what a way around it would try."""
    monkeypatch.setenv("SECRET", "1")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(np.zeros(3)))
    target = tmp_path / "written"
    child = (
        "import json, os, sys; sys.path[:] = json.loads(sys.argv[1]); from dynaflex.io import pickle_jail as jail\n"
        f"def load(path):\n    {attempt.format(path=str(target))}\n    raise SystemExit(0)\n"
        "jail.load_arrays = load; jail.serve(sys.argv[2])"
    )
    outcome = subprocess.run(
        [sys.executable, "-I", "-c", child, json.dumps(sys.path), str(tmp_path / "a.pkl")],
        capture_output=True, env=pickle_jail._ENVIRONMENT, check=False,
    )  # fmt: skip
    assert outcome.returncode != 0, outcome
    assert not target.exists() or target.stat().st_size == 0


def test_nothing_of_the_users_environment_gets_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(np.zeros(3)))
    monkeypatch.setenv("SECRET", "1")
    monkeypatch.setattr(pickle_jail, "_CHILD", "import os, sys; sys.exit(8 if 'SECRET' in os.environ else 9)")
    with pytest.raises(InputError, match="ended with 9"):
        load_arrays_jailed(tmp_path / "a.pkl")


@pytest.mark.parametrize("content", [[], "text", {"a": np.zeros(3)}, np.array([None]), (np.zeros(3), 1.0)])
def test_only_plain_arrays_leave_the_jail(content: object) -> None:
    with pytest.raises(InputError) as caught:
        pickle_jail._arrays(content)
    assert caught.value.identifier == "pickle.not-arrays"


def test_a_reader_that_dies_is_an_error_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(np.zeros(3)))
    monkeypatch.setattr(pickle_jail, "_CHILD", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(InputError) as caught:
        load_arrays_jailed(tmp_path / "a.pkl")
    assert caught.value.identifier == "pickle.limits"
    monkeypatch.setattr(pickle_jail, "_CHILD", "while True: pass")
    monkeypatch.setattr(pickle_jail, "_SECONDS", 0.2)
    with pytest.raises(InputError):
        load_arrays_jailed(tmp_path / "a.pkl")
