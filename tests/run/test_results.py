"""Laws of folders of results: replaced whole, never half, and nothing of anybody else's is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynaflex.errors import UsageError
from dynaflex.run import results
from dynaflex.run.results import faults_below, listed_in, replaced

KIND = "volumes"


def put(folder: Path, **files: str) -> None:
    """Write files as results; ``a__b="text"`` is ``a/b``."""
    with replaced(folder, KIND) as staging:
        for name, text in files.items():
            path = staging / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def visible(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def test_results_take_the_place_of_all_the_former_ones(tmp_path: Path) -> None:
    put(tmp_path, one="1", two="2", deep__three="3")
    (tmp_path / "deep" / "mine").write_text("a user's")
    put(tmp_path, two="22", other__four="4")
    assert visible(tmp_path) == {"two": "22", "other/four": "4", "deep/mine": "a user's"}
    (tmp_path / "deep" / "mine").unlink()
    (tmp_path / "deep").rmdir()
    put(tmp_path, one="1")
    assert visible(tmp_path) == {"one": "1"} and not (tmp_path / "other").exists()


def test_what_we_did_not_write_is_not_replaced(tmp_path: Path) -> None:
    put(tmp_path, one="1")
    (tmp_path / "two").write_text("a user's")
    with pytest.raises(UsageError, match=r"output\.not-ours"):
        put(tmp_path, one="11", two="2")
    assert visible(tmp_path) == {"one": "1", "two": "a user's"}


def test_what_somebody_changed_since_is_not_replaced_and_not_removed(tmp_path: Path) -> None:
    put(tmp_path, one="1", two="2")
    (tmp_path / "one").write_text("a note of mine")
    with pytest.raises(UsageError, match=r"output\.not-ours"):
        put(tmp_path, one="1")
    put(tmp_path, three="3")
    assert visible(tmp_path) == {"one": "a note of mine", "three": "3"}


def test_a_link_that_leads_nowhere_is_somebodys(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"output\.not-ours"):
        put(tmp_path, one="1")
    assert (tmp_path / "one").is_symlink()


def test_until_the_results_are_whole_the_former_ones_stay(tmp_path: Path) -> None:
    put(tmp_path, one="1")
    for folder in (tmp_path, tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt):
            interrupted(folder)
    assert visible(tmp_path) == {"one": "1"} and not [path for path in tmp_path.iterdir() if path.is_dir()]


def interrupted(folder: Path) -> None:
    with replaced(folder, KIND) as staging:
        (staging / "one").write_text("half")
        raise KeyboardInterrupt


def test_kinds_do_not_touch_each_other(tmp_path: Path) -> None:
    put(tmp_path, one="1")
    with replaced(tmp_path, "analysis") as staging:
        (staging / "two").write_text("2")
    put(tmp_path, three="3")
    assert visible(tmp_path) == {"two": "2", "three": "3"}


def test_a_cut_result_is_known(tmp_path: Path) -> None:
    put(tmp_path, one="1 2 3", two="2")
    (tmp_path / "one").write_text("1 2")
    assert listed_in(tmp_path, KIND).fault("one") is not None and listed_in(tmp_path, KIND).fault("two") is None


def test_a_death_between_the_list_and_the_files_leaves_nothing_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, one="1", two="2")
    moved = results.os.replace

    def dies(source: Path, target: Path) -> None:
        if Path(target).name == "two":
            raise KeyboardInterrupt
        moved(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(results.os, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            put(tmp_path, one="11", two="22")
    put(tmp_path, two="222")
    assert visible(tmp_path) == {"two": "222"}


def test_cut_results_are_found_wherever_they_lie(tmp_path: Path) -> None:
    for name in ("analysis", "export/relion"):
        put(tmp_path / name, one="1 2 3", two="2")
    assert list(faults_below(tmp_path)) == []
    (tmp_path / "export" / "relion" / "one").write_text("1 2")
    (tmp_path / "analysis" / "two").unlink()
    found = [(kind, fault.partition(":")[0]) for kind, fault in faults_below(tmp_path)]
    assert found == [(KIND, "analysis/two"), (KIND, "export/relion/one")]
