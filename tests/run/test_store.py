"""Laws of checkpoints on disk: no byte may differ, nothing may be elsewhere, and the newest that is whole is used."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import torch

from dynaflex.errors import DamagedCheckpointError
from dynaflex.run.directory import Run
from dynaflex.run.store import FORMAT, CheckpointStore, Place

FILES = ("state.safetensors", "state.json", "manifest.json")


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    store = CheckpointStore(tmp_path, "particles")
    save(store, Place(1))
    save(store, Place(2))
    return store


def save(store: CheckpointStore, place: Place, series: str = "half1") -> None:
    generator = torch.Generator().manual_seed(place.epoch)
    store.save(series, place, {"x": torch.randn(40, generator=generator)}, {"epoch": place.epoch, "loss": 0.1 + 0.2})


def newest(store: CheckpointStore) -> Path:
    return next(store.newest("half1"))


@pytest.mark.parametrize("flips", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_byte_can_be_changed(store: CheckpointStore, flips: int) -> None:
    """Any one byte of any file, to any other value."""
    path, draw = newest(store), random.Random(0)
    for number in range(flips):
        file = path / FILES[number % len(FILES)]
        whole = file.read_bytes()
        where = draw.randrange(len(whole))
        file.write_bytes(whole[:where] + bytes([whole[where] ^ draw.randrange(1, 256)]) + whole[where + 1 :])
        with pytest.raises(DamagedCheckpointError):
            store.read(path)
        assert store.fault(path)
        file.write_bytes(whole)
    assert store.read(path)[1]["epoch"] == 2 and store.fault(path) is None


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("left", [0.0, 1, 8, 0.5, -1])
def test_no_file_can_be_cut_or_grow(store: CheckpointStore, file: str, left: float) -> None:
    path = newest(store) / file
    whole = path.read_bytes()
    path.write_bytes(whole[: int(left * len(whole)) if isinstance(left, float) else left])
    with pytest.raises(DamagedCheckpointError):
        store.read(path.parent)
    path.write_bytes(whole + b" ")
    with pytest.raises(DamagedCheckpointError):
        store.read(path.parent)


@pytest.mark.parametrize("file", FILES)
def test_no_file_can_be_missing_or_come_from_another_checkpoint(store: CheckpointStore, file: str) -> None:
    path, other = newest(store), store.series("half1")[0]
    shutil.copy(other / file, path / file)
    with pytest.raises(DamagedCheckpointError):
        store.read(path)
    (path / file).unlink()
    with pytest.raises(DamagedCheckpointError, match=file):
        store.read(path)


def test_a_checkpoint_under_another_name_is_refused(store: CheckpointStore) -> None:
    moved = newest(store).rename(store.folder / "half1_00009")
    with pytest.raises(DamagedCheckpointError, match="half1_00002"):
        store.read(moved)


def test_a_checkpoint_of_another_data_set_is_refused(store: CheckpointStore) -> None:
    with pytest.raises(DamagedCheckpointError, match="other particles"):
        CheckpointStore(store.folder, "others").read(newest(store))


@pytest.mark.parametrize("number", [FORMAT - 1, FORMAT + 1])
def test_another_format_is_refused_by_its_number(store: CheckpointStore, number: int) -> None:
    path = newest(store) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": number}))
    with pytest.raises(DamagedCheckpointError, match=f"format {number}"):
        store.read(path.parent)


def test_tensors_cannot_claim_more_than_their_file_holds(store: CheckpointStore) -> None:
    path = newest(store) / "state.safetensors"
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])
    with pytest.raises(DamagedCheckpointError):
        store.read(path.parent)


def test_whole_epochs_are_kept_and_what_lies_within_an_epoch_until_it_is_whole(store: CheckpointStore) -> None:
    def names() -> list[str]:
        return [path.name for path in store.series("half1")]

    save(store, Place(2, 5))
    save(store, Place(2, 40))
    assert names() == ["half1_00001", "half1_00002", "half1_00002.000040"]
    save(store, Place(3))
    assert names() == ["half1_00002", "half1_00003"]
    assert store.names() == ["half1"]


def test_one_series_does_not_touch_another(store: CheckpointStore) -> None:
    for epoch in range(5):
        save(store, Place(epoch), "latents1")
    assert [path.name for path in store.series("half1")] == ["half1_00001", "half1_00002"]


def test_the_newest_whole_one_is_used_and_the_others_are_named(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", "dynamight", {}, {})
    save(run.store, Place(1))
    save(run.store, Place(2))
    save(run.store, Place(2, 3))
    for name in ("half1_00002.000003", "half1_00002"):
        (run.checkpoints / name / "state.json").unlink()
    assert run.require_checkpoint("half1")[1]["epoch"] == 1
    told = run.read_json("provenance.json")["warnings"]
    assert len(told) == 2 and all("half1_00001 was" in message for message in told)
    assert "half1_00002.000003" in told[0] and "state.json" in told[0]
