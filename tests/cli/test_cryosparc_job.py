"""Laws of the script that loads a run into cryoSPARC, by cryoSPARC's own library; the server alone is played."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dynaflex.io.foreign.cs import read_cs
from dynaflex.products.cryosparc import external_job


@pytest.fixture(scope="module")
def dataset() -> Any:
    return pytest.importorskip("cryosparc.dataset").Dataset


class Server:
    """What cryoSPARC keeps of a job: outputs by their specification, what was saved, and the files that were sent."""

    def __init__(self, refuses: bool = False) -> None:
        self.outputs: dict[str, Any] = {}
        self.saved: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.status, self.refuses = "building", refuses

    def add_external_output(self, project: str, job: str, name: str, spec: Any) -> None:
        assert self.status == "building"
        self.outputs[name] = spec

    def mark_running(self, project: str, job: str, status: str) -> None:
        self.status = status

    def mark_completed(self, project: str, job: str) -> None:
        self.status = "completed"

    def mark_failed(self, project: str, job: str, error: str) -> None:
        self.status = "failed"

    def save_output(self, project: str, job: str, name: str, dataset: Any, version: int) -> None:
        assert self.status == "running" and dataset.prefixes() and name in self.outputs
        assert sorted(dataset.prefixes()) == sorted(slot.name for slot in self.outputs[name].slots)
        if self.refuses:
            raise RuntimeError("no room")
        self.saved[name] = dataset

    def upload(self, project: str, path: object, source: Path, *, overwrite: bool) -> None:
        self.files[str(path)] = Path(source).read_bytes()

    def project(self) -> Any:
        """A project of cryosparc-tools, whose external jobs are the library's own."""
        jobs = pytest.importorskip("cryosparc.controllers.job")
        server = self

        class Job(jobs.ExternalJobController):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                self.cs = SimpleNamespace(api=SimpleNamespace(jobs=server), upload=server.upload)
                self.project_uid, self.uid = "P3", "J42"

        return SimpleNamespace(create_external_job=lambda workspace, title: Job())


def test_every_group_becomes_an_output_of_the_job(exported: Path, dataset: Any) -> None:
    server = Server()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert external_job.load(server.project(), "W1", exported) == "J42"
    assert server.status == "completed"
    assert sorted(server.saved) == sorted(path.stem for path in exported.glob("*.csg"))
    for name in ("particles", "excluded", "latents"):
        ours = read_cs(exported / f"{name}.cs")
        assert server.saved[name]["uid"].tolist() == ours["uid"].tolist()
        assert sorted(server.saved[name].fields()) == sorted(ours.dtype.names or ())
    kinds = {slot.name: slot.dtype for spec in server.outputs.values() for slot in spec.slots}
    assert kinds["components_mode_2"] == "components" and kinds["map_half_B"] == kinds["mask"] == "blob"
    assert kinds["alignments3D"] == "alignments3D"


def test_maps_are_sent_and_named_as_the_project_names_them(exported: Path, dataset: Any) -> None:
    server = Server()
    external_job.load(server.project(), "W1", exported)
    for group, slot in (("volume", "map"), ("volume_noflex", "map_half_A"), ("mask", "mask")):
        (path,) = server.saved[group][f"{slot}/path"]
        assert path.startswith("J42/") and server.files[path] == (exported / path.removeprefix("J42/")).read_bytes()


def test_a_job_that_could_not_be_filled_is_a_failed_one(exported: Path, dataset: Any) -> None:
    server = Server(refuses=True)
    with pytest.raises(RuntimeError, match="no room"):
        external_job.load(server.project(), "W1", exported)
    assert server.status == "failed"


def test_every_file_is_read_by_cryosparcs_own_library(exported: Path, dataset: Any) -> None:
    files = sorted(exported.glob("*.cs"))
    assert len(files) > 6
    for path in files:
        theirs, ours = dataset.load(path), read_cs(path)
        assert len(theirs) == len(ours)
        for name in ours.dtype.names or ():
            mine = ours[name] if ours[name].dtype.kind != "S" else np.char.decode(ours[name], "utf-8")
            assert np.array_equal(
                np.asarray(theirs[name].tolist()), np.asarray(mine.tolist()), equal_nan=mine.dtype.kind == "f"
            )


def test_the_script_that_is_handed_over_stands_alone(exported: Path) -> None:
    text = (exported / "external_job.py").read_text()
    assert "dynaflex." not in "".join(line for line in text.splitlines() if "import" in line)
    assert callable(runpy.run_path(str(exported / "external_job.py"))["load"])
