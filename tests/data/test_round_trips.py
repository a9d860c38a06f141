"""Laws of tables that come and go: no particle, column or bit is lost, and cryoSPARC's own library reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.lib import recfunctions

from cryosparc_files import only, records, with_column, write_cs
from dynaflex.data.foreign.cs_table import read_joined, read_records
from dynaflex.errors import InputError
from dynaflex.io.foreign.cs import read_cs
from dynaflex.io.foreign.cs import write_cs as write
from dynaflex.io.star import read_star, write_star

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
CRYOSPARCS = sorted(SHARED.glob("*/*.cs"))
RELIONS = sorted(SHARED.glob("*/*.star"))
BROKEN = "ComputationalCryoEM_ASPIRE-Python__saved_test_data_sample.star"


def some_rows() -> np.ndarray:
    """Every type that cryoSPARC writes, with values that a detour through text or other types would change."""
    rows = np.zeros(5, dtype=[
        ("uid", "<u8"), ("blob/path", "S30"), ("blob/shape", "<u4", (2,)), ("ctf/tetra_A", "<f4", (4,)),
        ("alignments3D/error", "<f8"), ("pick_stats/flag", "u1"), ("alignments3D_multi/pose", "<f4", (3, 2)),
    ])  # fmt: skip
    rows["uid"] = np.array([2**64 - 1, 2**63 + 1, 2**53 + 1, 7, 0], dtype="<u8")
    rows["blob/path"] = "J1/ä/x.mrc".encode()
    rows["ctf/tetra_A"] = np.array([[np.nan, np.inf, -0.0, 1e-45]])
    rows["alignments3D/error"] = 1.0 / 3.0
    rows["alignments3D_multi/pose"] = np.random.default_rng(0).standard_normal((5, 3, 2))
    return rows


def test_a_table_is_written_bit_by_bit(tmp_path: Path) -> None:
    rows = some_rows()
    write(tmp_path / "t.cs", rows)
    found = read_cs(tmp_path / "t.cs")
    assert found.dtype == rows.dtype and found.tobytes() == rows.tobytes()


@pytest.mark.skipif(not CRYOSPARCS, reason="the data of others are not there")
@pytest.mark.parametrize("path", CRYOSPARCS, ids=lambda path: path.name)
def test_cryosparcs_files_come_back_as_they_were(path: Path, tmp_path: Path) -> None:
    write(tmp_path / "t.cs", read_cs(path))
    found, given = (np.load(file) for file in (tmp_path / "t.cs", path))
    assert found.dtype == given.dtype and found.tobytes() == given.tobytes()
    dataset = pytest.importorskip("cryosparc.dataset")
    ours, theirs = (dataset.Dataset.load(file) for file in (tmp_path / "t.cs", path))
    assert ours == theirs and len(ours) == len(given)


@pytest.mark.skipif(not RELIONS, reason="the data of others are not there")
@pytest.mark.parametrize("path", [path for path in RELIONS if path.name != BROKEN], ids=lambda path: path.name)
def test_relions_files_come_back_as_they_were(path: Path, tmp_path: Path) -> None:
    given = read_star(path)
    write_star(given, tmp_path / "t.star")
    found = read_star(tmp_path / "t.star")
    assert list(found.blocks) == list(given.blocks)
    for name, block in given.blocks.items():
        assert list(found.blocks[name]) == list(block)
        assert found.blocks[name].to_numpy().tolist() == block.to_numpy().tolist()


def test_passthrough_columns_of_the_job_are_joined_even_if_nothing_lacks(blocks, save, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    rows = with_column(records(save(blocks), 1.0), "ml_properties/odd", np.arange(12, dtype="<f8"))
    write_cs(tmp_path / "P1_J2_003_particles.cs", only(rows, "blob", "ctf", "alignments3D"))
    write_cs(tmp_path / "P1_J2_passthrough_particles.cs", only(rows[::-1], "location", "ml_properties", "blob"))
    write_cs(tmp_path / "P1_J9_passthrough_particles.cs", with_column(only(rows), "sym_expand/idx", rows["blob/idx"]))
    found = read_joined(tmp_path / "P1_J2_003_particles.cs").records()
    assert found.dtype.names is not None and set(found.dtype.names) == set(rows.dtype.names)
    for name in rows.dtype.names:
        assert found.dtype[name] == rows.dtype[name] and found[name].tobytes() == rows[name].tobytes()


def test_records_need_not_have_poses(tmp_path: Path) -> None:
    rows = some_rows()[["uid", "blob/path"]]
    write_cs(tmp_path / "imported_particles.cs", recfunctions.repack_fields(rows))
    assert read_records(tmp_path / "imported_particles.cs")["blob/path"].tolist() == rows["blob/path"].tolist()


def test_the_way_out_of_a_stream_leads_out(tmp_path: Path) -> None:
    dataset = pytest.importorskip("cryosparc.dataset")
    rows = some_rows()[["uid", "blob/path", "blob/shape", "ctf/tetra_A"]]
    write_cs(tmp_path / "npy.cs", recfunctions.repack_fields(rows))
    dataset.Dataset.load(tmp_path / "npy.cs").save(tmp_path / "stream.cs", format=dataset.CSDAT_FORMAT)
    with pytest.raises(InputError) as caught:
        read_cs(tmp_path / "stream.cs")
    assert caught.value.identifier == "cs.stream"
    exec(str(caught.value.fix).partition("cryosparc-tools: ")[2], {})
    found = read_cs(tmp_path / "stream_numpy.cs")
    assert set(found.dtype.names) == set(rows.dtype.names)
    for name in rows.dtype.names:
        assert found[name].tolist() == rows[name].tolist() or name == "ctf/tetra_A"
    assert found["ctf/tetra_A"].tobytes() == np.ascontiguousarray(rows["ctf/tetra_A"]).tobytes()
