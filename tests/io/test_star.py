from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import starfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynaflex.errors import EnvironmentFault, InputError
from dynaflex.io.star import StarFile, read_star, write_star

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
WILD = sorted([*(SHARED / "star").glob("*.star"), *(SHARED / "stacks").glob("*.star")])


def assert_equal(a: StarFile, b: StarFile) -> None:
    assert list(a.blocks) == list(b.blocks)
    assert a.lists == b.lists
    for name, table in a.blocks.items():
        assert list(table.columns) == list(b.blocks[name].columns)
        assert table.shape == b.blocks[name].shape
        np.testing.assert_array_equal(table.to_numpy(dtype=object), b.blocks[name].to_numpy(dtype=object))


def read_text(tmp_path: Path, text: str) -> StarFile:
    path = tmp_path / "x.star"
    path.write_text(text, encoding="utf-8")
    return read_star(path)


VALUES = st.one_of(
    st.sampled_from(["001", "123456789012", "nan", "NaN", "<NA>", "", "#7", "a#b", "Bob's", '"', "'", "_x", "data_x"]),
    st.sampled_from(["loop_", "[0.1,0.2]", "a b", 'say "hi"', "1.50", "-0.000000", "1e+05", "true", "\u00a0", "é 1"]),
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=12),
)
LABELS = st.lists(st.from_regex(r"rln[A-Za-z0-9]{1,8}", fullmatch=True), min_size=1, max_size=4, unique=True)


@st.composite
def tables(draw: st.DrawFn, rows: st.SearchStrategy[int]) -> pd.DataFrame:
    labels = draw(LABELS)
    n = draw(rows)
    cells = draw(st.lists(st.lists(VALUES, min_size=len(labels), max_size=len(labels)), min_size=n, max_size=n))
    array = np.empty((n, len(labels)), dtype=object)
    if n:
        array[:] = cells
    return pd.DataFrame(array, columns=labels, dtype=object)


@st.composite
def star_files(draw: st.DrawFn) -> StarFile:
    names = draw(st.lists(st.sampled_from(["", "optics", "particles", "general", "x_1"]), min_size=1, unique=True))
    lists = frozenset(name for name in names if draw(st.booleans()))
    blocks = {name: draw(tables(st.just(1) if name in lists else st.integers(0, 4))) for name in names}
    return StarFile(Path("x.star"), blocks, lists)


def expressible(star: StarFile) -> bool:
    """STAR cannot hold a value in which both kinds of quote are followed by a blank."""
    values = [value for table in star.blocks.values() for value in table.to_numpy(dtype=object).ravel()]
    return not any('" ' in value and "' " in value for value in values)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(star_files().filter(expressible))
def test_whatever_is_written_is_read_back(tmp_path: Path, star: StarFile) -> None:
    write_star(star, tmp_path / "x.star")
    assert_equal(star, read_star(tmp_path / "x.star"))


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    star = read_text(tmp_path, "data_\nloop_\n_a #1\n_b #2\n1 2\n")
    write_star(star, tmp_path / "1.star")
    write_star(star, tmp_path / "2.star")
    assert (tmp_path / "1.star").read_bytes() == (tmp_path / "2.star").read_bytes()


@pytest.mark.skipif(not WILD, reason=f"no STAR files in {SHARED}")
@pytest.mark.parametrize("path", WILD, ids=lambda path: path.name)
def test_files_in_the_wild_survive_or_are_refused(tmp_path: Path, path: Path) -> None:
    if path.name == "ComputationalCryoEM_ASPIRE-Python__saved_test_data_sample.star":
        with pytest.raises(InputError, match="line 20") as caught:
            read_star(path)
        assert caught.value.row == 3
        return
    star = read_star(path)
    assert all(len(table) for table in star.blocks.values())
    write_star(star, tmp_path / "copy.star")
    assert_equal(star, read_star(tmp_path / "copy.star"))


@pytest.mark.skipif(not WILD, reason=f"no STAR files in {SHARED}")
@pytest.mark.parametrize("path", WILD, ids=lambda path: path.name)
def test_starfile_agrees(path: Path) -> None:
    if path.name == "ComputationalCryoEM_ASPIRE-Python__saved_test_data_sample.star":
        pytest.skip("starfile cannot read it either")
    ours = read_star(path)
    columns = [label for table in ours.blocks.values() for label in table.columns]
    theirs = starfile.read(path, always_dict=True, parse_as_string=columns)
    assert list(theirs) == list(ours.blocks)
    for name, table in ours.blocks.items():
        np.testing.assert_array_equal(table.to_numpy(dtype=object), theirs[name].to_numpy(dtype=object))


def test_starfile_can_read_what_is_written(tmp_path: Path) -> None:
    star = read_text(tmp_path, "data_general\n_a 1.50\n\ndata_particles\nloop_\n_x #1\n_y #2\n001 'a b'\n2 c\n")
    write_star(star, tmp_path / "copy.star")
    theirs = starfile.read(tmp_path / "copy.star", always_dict=True, parse_as_string=["a", "x", "y"])
    assert theirs["general"] == {"a": "1.50"}
    assert theirs["particles"].to_numpy().tolist() == [["001", "a b"], ["2", "c"]]


@pytest.mark.parametrize(
    "text",
    [
        "data_\nloop_\n_a #1\n_b #2\n1 'x y'\n2 z\n",
        '# made by hand\r\n\r\ndata_\r\n\r\nloop_\r\n_a #1 \r\n_b #2 \r\n\r\n1\t"x y"\r\n\r\n2\tz # last\r\n',
        '\ufeffdata_\nloop_\n# labels\n_a #1 [meaning]\n_b\n  1   "x y"  \n# row\n2 z',
    ],
)
def test_layout_does_not_matter(tmp_path: Path, text: str) -> None:
    star = read_text(tmp_path, text)
    assert star.blocks[""].to_numpy().tolist() == [["1", "x y"], ["2", "z"]]


def test_blocks_keep_their_own_tables(tmp_path: Path) -> None:
    star = read_text(tmp_path, "data_empty\n\ndata_optics\n_a 1\n_b 'x y'\n\ndata_p\nloop_\n_c #1\n_d #2\ndata_x/1 2\n")
    assert list(star.blocks) == ["empty", "optics", "p"]
    assert star.lists == {"empty", "optics"}
    assert star.blocks["empty"].shape == (0, 0)
    assert star.blocks["optics"].to_dict("records") == [{"a": "1", "b": "x y"}]
    assert star.blocks["p"].to_dict("records") == [{"c": "data_x/1", "d": "2"}]


def test_a_loop_without_rows_is_a_table_without_rows(tmp_path: Path) -> None:
    assert read_text(tmp_path, "data_p\nloop_\n_a #1\n_b #2\n\n").blocks["p"].shape == (0, 2)


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        ("", "star.no-block"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "star.no-block"),
        ("data_\nloop_\n_a #1\n_b #2\n1 2\n3\n", "star.row-length"),
        ("data_\nloop_\n_a #1\n1\nloop_\n_b #1\n2 3\n", "star.row-length"),
        ("data_\nloop_\n_a #1\n_a #2\n1 2\n", "star.repeated-label"),
        ("data_\nloop_\n1 2\n", "star.no-labels"),
        ("data_\nloop_ _a #1\n1\n", "star.loop-line"),
        ("data_\n_a 1 2\n", "star.list-item"),
        ("data_\n_a 1\n_a 2\n", "star.repeated-label"),
        ("data_x\n_a 1\ndata_x\n_a 2\n", "star.repeated-block"),
        ("data_\n\0\n", "star.not-text"),
        ("000001@s.mrcs 1\ndata_\nloop_\n_a #1\n_b #2\n1 2\n", "star.outside-block"),
    ],
)
def test_damage_is_refused(tmp_path: Path, text: str, identifier: str) -> None:
    with pytest.raises(InputError) as caught:
        read_text(tmp_path, text)
    assert caught.value.identifier == identifier
    assert "x.star" in str(caught.value)


def test_errors_give_line_and_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 7") as caught:
        read_text(tmp_path, "\ndata_\nloop_\n_a #1\n_b #2\n1 2\n3\n")
    assert caught.value.row == 1


def test_missing_folder_and_binary_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b.star").write_bytes(bytes(range(256)))
    for path in (tmp_path / "none.star", tmp_path, tmp_path / "b.star"):
        with pytest.raises(InputError):
            read_star(path)


def test_a_file_that_may_not_be_read_is_no_file_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so the refusal of the system is played."""

    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match="Permission denied") as caught:
        read_text(tmp_path, "data_\n_a 1\n")
    assert caught.value.identifier == "star.unreadable" and caught.value.file == tmp_path / "x.star"


def test_a_corrected_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.star"
    path.write_text("data_\nloop_\n_a #1\n1 2\n")
    stamp = path.stat()
    with pytest.raises(InputError):
        read_star(path)
    path.write_text("data_\nloop_\n_a #1\n1\n2\n")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert len(read_star(path).blocks[""]) == 2


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    for value in ("two\nlines", "\x07", """a" b' c"""):
        star = StarFile(tmp_path, {"": pd.DataFrame({"a": [value]}, dtype=object)})
        with pytest.raises(InputError, match="column a") as caught:
            write_star(star, tmp_path / "x.star")
        assert caught.value.identifier == "star.unwritable-value"
    with pytest.raises(EnvironmentFault):
        write_star(StarFile(tmp_path, {}), tmp_path / "none" / "x.star")
