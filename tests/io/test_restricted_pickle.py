"""Laws of reading pickles: arrays come back as they were, and nothing in the file is ever run."""

from __future__ import annotations

import collections
import pickle  # noqa: TID251  (to make what is to be read, and what is to be refused)
from pathlib import Path

import numpy as np
import pytest

from dynaflex.errors import InputError
from dynaflex.io.foreign.restricted_pickle import load_arrays

MESH = {
    "tm_points": np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32),
    "tm_cells": np.arange(8, dtype=np.int64).reshape(2, 4),
    "mask": np.asfortranarray(np.arange(24).reshape(2, 3, 4) > 7),
    "big_endian": np.arange(3, dtype=">i4"),
    "complex": np.array([1 + 2j]),
    "empty": np.zeros((0, 3)),
    "alone": np.array(7.0),
    "text": np.array(["arm", "body"]),
    "strided": np.arange(12).reshape(3, 4)[::2, ::2],
    "segfuses": np.array([(0, 1), None, "x"], dtype=object),
    "psize_A": np.float32(1.5),
    "count": np.int64(4),
    "plain": [1, 2.5, True, None, "word", b"\x00\xff", (1, (2,)), {"k": []}],
}


def dumped(folder: Path, value: object, protocol: int = 4) -> Path:
    path = folder / "some.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def same(found: object, expected: object) -> bool:
    if isinstance(expected, np.ndarray):
        return (
            isinstance(found, np.ndarray)
            and found.dtype == expected.dtype
            and found.shape == expected.shape
            and all(same(a, b) for a, b in zip(found.ravel().tolist(), expected.ravel().tolist(), strict=True))
        )
    return type(found) is type(expected) and bool(found == expected)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_come_back_as_they_were(tmp_path: Path, protocol: int) -> None:
    found = load_arrays(dumped(tmp_path, MESH, protocol))
    assert isinstance(found, dict) and list(found) == list(MESH)
    for name, expected in MESH.items():
        assert same(found[name], expected), name


@pytest.mark.parametrize("core", [b"numpy.core.", b"numpy._core."])
def test_numpy_1_and_2_are_read_alike(tmp_path: Path, core: bytes) -> None:
    """Protocol 0 names modules in plain text, so that either version's pickle is made by replacing a name."""
    content = pickle.dumps([MESH["tm_points"], MESH["psize_A"]], 0).replace(b"numpy._core.", b"numpy.core.")
    assert content.count(b"numpy.core.") == 2
    path = tmp_path / "other.pkl"
    path.write_bytes(content.replace(b"numpy.core.", core))
    found = load_arrays(path)
    assert isinstance(found, list) and same(found[0], MESH["tm_points"]) and same(found[1], MESH["psize_A"])


def test_the_arrays_can_be_changed_and_shared_ones_stay_shared(tmp_path: Path) -> None:
    found = load_arrays(dumped(tmp_path, [MESH["tm_points"]] * 2))
    assert isinstance(found, list) and found[0] is found[1]
    found[0][:] = 0.0


def test_only_the_first_of_several_pickles_is_read(tmp_path: Path) -> None:
    path = tmp_path / "two.pkl"
    path.write_bytes(pickle.dumps(MESH["tm_points"]) + pickle.dumps(MESH["tm_cells"]))
    assert same(load_arrays(path), MESH["tm_points"])


class Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call  # type: ignore[return-value]


@pytest.mark.parametrize(
    "value",
    [
        Calls(Path.touch, Path("trace")),
        [MESH["tm_points"], Calls(eval, "open('trace', 'w')")],
        {"tm_points": np.array([Calls(exec, "open('trace', 'w')")], dtype=object)},
        Calls(np.load, "trace.npy", None, True),
        Calls(getattr, np.zeros(1), "tofile"),
        collections.OrderedDict(a=1),
        np.zeros(2, dtype=[("x", "f8"), ("y", "O")]),
        np.zeros(2, dtype="M8[s]"),
        np.ma.masked_array([1.0, 2.0], [True, False]),
        {1, 2},
        1j,
        bytearray(b"x"),
        np.ndarray,
        len,
    ],
    ids=lambda value: type(value).__name__,
)
def test_all_else_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    monkeypatch.chdir(tmp_path)
    path = dumped(tmp_path, value)
    with pytest.raises(InputError) as caught:
        load_arrays(path)
    assert caught.value.identifier == "pickle.refused" and caught.value.file == path
    assert [entry.name for entry in tmp_path.iterdir()] == ["some.pkl"]


# Opcodes by hand, after a frame that numpy itself would write: c module\nname\n loads a global, R calls it, b gives it
# a state, ( .. t is a tuple, X text, K a small integer, C bytes.
def word(text: str) -> bytes:
    return b"X" + len(text).to_bytes(4, "little") + text.encode()


DTYPE = b"cnumpy\ndtype\n(" + word("f8") + b"tR"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n)R"


@pytest.mark.parametrize(
    ("content", "identifier"),
    [
        (b"cos\nsystem\n(" + word("touch trace") + b"tR.", "pickle.refused"),
        (b"c__builtin__\neval\n(" + word("1") + b"tR.", "pickle.refused"),
        (b"cnumpy\n__dict__\n.", "pickle.refused"),
        (b"cnumpy.core.multiarray.x\n_reconstruct\n)R.", "pickle.refused"),
        (b"c_codecs\nencode\n(" + word("x") + word("zip") + b"tR.", "pickle.refused"),
        (b"cnumpy\ndtype\n}" + word("_make") + b"Nsb0N.", "pickle.refused"),
        (DTYPE + b".", "pickle.refused"),
        (b"cnumpy\ndtype\n(" + word("V8") + b"tR.", "pickle.refused"),
        (b"cnumpy\ndtype\n(" + word("f8,O") + b"tR.", "pickle.refused"),
        (b"]" + b"2a.", "pickle.refused"),
        (b"P1\n.", "pickle.not-readable"),
        (ARRAY + b"(K\x01(K\x7ft" + DTYPE + b"\x89C\x08" + bytes(8) + b"tb.", "pickle.not-readable"),
        (ARRAY + b"(K\x01(J" + (-1).to_bytes(4, "little", signed=True) + b"t" + DTYPE + b"\x89C\x00tb.",
         "pickle.not-readable"),
        (ARRAY + b"(K\x01(K\x01t" + DTYPE + b"\x89]tb.", "pickle.not-readable"),
        (b"]" * 100_000 + b"a" * 99_999 + b".", "pickle.not-readable"),
        (pickle.dumps(MESH)[:-40], "pickle.not-readable"),
        (b"", "pickle.not-readable"),
        (b"not a pickle", "pickle.not-readable"),
    ],
)  # fmt: skip
def test_crafted_and_damaged_pickles_are_errors(tmp_path: Path, content: bytes, identifier: str) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_arrays(path)
    assert caught.value.identifier == identifier


def test_a_refused_pickle_changes_nothing_for_the_next(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.pkl", dumped(tmp_path, MESH["tm_points"])
    bad.write_bytes(b"cnumpy\ndtype\n(N}" + word("_make") + b"Nstb.")
    with pytest.raises(InputError):
        load_arrays(bad)
    assert same(load_arrays(good), MESH["tm_points"])


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file") as caught:
        load_arrays(tmp_path / "none.pkl")
    assert caught.value.identifier == "pickle.not-found"
