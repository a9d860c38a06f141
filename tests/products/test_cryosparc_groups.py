"""Laws of what is added to cryoSPARC's tables: poses of one class, components, groups in YAML."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryosparc_files import in_classes, records, with_column, without
from dynaflex.io.foreign.csg import ResultGroup, write_csg
from dynaflex.products.cryosparc.groups import components, maps, with_components
from dynaflex.products.cryosparc.records import with_single_alignment


@pytest.fixture
def rows(few: Path) -> np.ndarray:
    return records(few / "particles.star", 2.0)[:12]


def test_poses_of_the_chosen_class_are_those_that_a_refinement_takes(rows: np.ndarray) -> None:
    likeliest = np.arange(12) % 3
    classes = in_classes(rows, likeliest, 3)
    for chosen in range(3):
        found = with_single_alignment(classes, chosen)
        mine = likeliest == chosen
        for name in ("pose", "shift", "psize_A", "split"):
            assert found[f"alignments3D/{name}"][mine].tobytes() == rows[f"alignments3D/{name}"][mine].tobytes()
        for name in classes.dtype.names or ():
            assert found[name].tobytes() == classes[name].tobytes()


def test_poses_of_classes_in_one_column_too(rows: np.ndarray) -> None:
    one = without(rows, *(name for name in rows.dtype.names or () if name.startswith("alignments3D/")))
    for name in ("pose", "split", "shift"):
        values = rows[f"alignments3D/{name}"]
        one = with_column(one, f"alignments3D_multi/{name}", np.stack([values[::-1], values], axis=1))
    found = with_single_alignment(one, 1)
    for name in ("pose", "split", "shift"):
        assert found[f"alignments3D/{name}"].tobytes() == rows[f"alignments3D/{name}"].tobytes()


def test_a_single_alignment_is_left_as_it_is(rows: np.ndarray) -> None:
    assert with_single_alignment(rows, 0) is rows
    assert with_single_alignment(without(rows, "alignments3D/pose"), None).dtype == without(
        rows, "alignments3D/pose"
    ).dtype  # fmt: skip


def test_components_take_the_place_of_former_ones(rows: np.ndarray) -> None:
    former = rows
    for k in range(4):
        former = with_column(former, f"components_mode_{k}/value", np.full(12, 9.0, dtype="<f4"))
    values = np.random.default_rng(0).standard_normal((12, 2))
    found = with_components(former, values)
    named = [name for name in found.dtype.names or () if name.startswith("components")]
    assert named == [f"components_mode_{k}/{part}" for k in (0, 1) for part in ("component", "value")]
    assert (found["components_mode_1/value"] == values[:, 1].astype("<f4")).all()
    for name in rows.dtype.names or ():
        assert found[name].tobytes() == rows[name].tobytes()


def test_rows_of_ours_have_uids_of_their_own() -> None:
    tables = [components("a", np.zeros((50, 1))), components("b", np.zeros((50, 1))), maps({"map": "m.mrc"}, 8, 1.5)]
    uids = np.concatenate([table["uid"] for table in tables])
    assert len(np.unique(uids)) == 101
    assert components("a", np.zeros((50, 1)))["uid"].tolist() == tables[0]["uid"].tolist()


@pytest.mark.parametrize("text", ["plain", "it's: a {trap} # 'really'", "yes", "  12", "Å > 3 | - ?", ""])
def test_every_word_survives_the_yaml(text: str, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    write_csg(tmp_path / "g.csg", ResultGroup("name", text, "particle", text, f"{text}.cs", 3, {"blob": "blob"}))
    found = yaml.safe_load((tmp_path / "g.csg").read_text(encoding="utf-8"))
    assert found["group"] == {"name": "name", "title": text, "type": "particle", "description": text}
    assert found["results"] == {"blob": {"metafile": f">{text}.cs", "num_items": 3, "type": "particle.blob"}}


def test_a_group_of_ours_is_replaced(tmp_path: Path) -> None:
    for number in (1, 2):
        group = ResultGroup("n", "t", "particle", "d", "g.cs", number, {"blob": "blob"})
        write_csg(tmp_path / "g.csg", group)
    assert "num_items: 2" in (tmp_path / "g.csg").read_text()
