"""Laws of the list of files: what was written is known by its bytes, whatever happens between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dynaflex.errors import DamagedCheckpointError
from dynaflex.run.ledger import LEDGER, Ledger


def written(folder: Path, name: str, text: str) -> Ledger:
    ledger = Ledger(folder)
    with ledger.writing(name) as path:
        path.write_text(text)
    return ledger


def test_every_change_of_a_file_is_known(tmp_path: Path) -> None:
    content = "".join(map(chr, np.random.default_rng(0).integers(32, 120, 200)))
    ledger = written(tmp_path, "a.json", content)
    assert ledger.fault("a.json") is None
    path = tmp_path / "a.json"
    for spoiled in ("", content[:-1], content + " ", content[:50] + "~" + content[51:]):
        path.write_text(spoiled)
        assert "not the one" in str(Ledger(tmp_path).fault("a.json"))
    path.unlink()
    assert "missing" in str(ledger.fault("a.json"))
    path.write_text(content)
    assert ledger.fault("a.json") is None


def test_files_that_nobody_listed_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("from before there were lists")
    ledger = written(tmp_path, "new", "1")
    assert ledger.fault("old") is ledger.fault("never") is None
    assert ledger.has("old") and ledger.has("new") and not ledger.has("never")


def test_a_writer_that_dies_leaves_a_file_that_is_listed_as_it_is(tmp_path: Path) -> None:
    ledger = written(tmp_path, "a", "1")
    with pytest.raises(KeyboardInterrupt), ledger.writing("a"):
        raise KeyboardInterrupt
    assert ledger.fault("a") is None
    # Killed without a chance to clear up: the list says that the file was being written.
    ledger.claim(["a", "b"])
    (tmp_path / "a").write_text("2")
    again = Ledger(tmp_path)
    assert again.fault("a") is again.fault("b") is None
    again.settle()
    assert again.names() == ["a"]
    (tmp_path / "a").write_text("3")
    assert again.fault("a") is not None


def test_the_list_vouches_for_itself(tmp_path: Path) -> None:
    written(tmp_path, "a", "1")
    whole = (tmp_path / LEDGER).read_text()
    for spoiled in ("", whole[:-9], whole.replace('"a"', '"b"'), "[]", "\x00"):
        (tmp_path / LEDGER).write_text(spoiled)
        with pytest.raises(DamagedCheckpointError, match=r"run\.damaged-list"):
            Ledger(tmp_path).fault("a")
