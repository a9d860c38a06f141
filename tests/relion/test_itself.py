"""RELION's own programs, where they are installed: its pipeliner runs our job, and the others take what it made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dynaflex import fsc
from dynaflex.io.mrc import read_map
from dynaflex.io.star import read_star
from dynaflex.relion import places

pytestmark = pytest.mark.skipif(shutil.which("relion_pipeliner") is None, reason="RELION is not installed")

JOB = "External/job001"
RUN = Path(JOB) / places.RUN
EMPTY = "\ndata_pipeline_general\n\n_rlnPipeLineJobCounter 1\n"
GIVEN = {
    "fn_exe": "relion_python_dynaflex", "in_part": "particles.star", "in_3dref": "consensus.mrc", "in_mask": "mask.mrc",
    "param1_label": "method", "param1_value": "flex", "param2_label": "epochs", "param2_value": "6",
    "param3_label": "batch_size", "param3_value": "16", "param4_label": "until", "param4_value": "reconstruct",
    "nr_threads": "1", "do_queue": "No", "min_dedicated": "24", "qsub": "qsub", "queuename": "openmpi",
}  # fmt: skip
"""What is typed into the form of the External job."""
BLANK = ("in_mov", "in_mic", "in_coords", "other_args", "qsubscript", *(
    f"param{n}_{part}" for n in range(5, 11) for part in ("label", "value")
))  # fmt: skip


def relion(program: str, *typed: object) -> str:
    """What one of its programs says, when it has ended well."""
    done = subprocess.run([f"relion_{program}", *map(str, typed)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of RELION in which its pipeliner has run one job of ours."""
    folder = tmp_path_factory.mktemp("itself") / "project"
    shutil.copytree(few, folder)
    (folder / "default_pipeline.star").write_text(EMPTY)
    rows = "\n".join(f"{name} {value or chr(34) * 2}" for name, value in {**GIVEN, **dict.fromkeys(BLANK, "")}.items())
    (folder / "typed.star").write_text(
        "\ndata_job\n\n_rlnJobType 99\n_rlnJobIsContinue 0\n\ndata_joboptions_values\n\nloop_\n"
        f"_rlnJobOptionVariable #1\n_rlnJobOptionValue #2\n{rows}\n\n"
    )
    with pytest.MonkeyPatch.context() as context:
        context.chdir(folder)
        context.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        context.setenv("PYTHONPATH", os.pathsep.join(filter(None, map(str, sys.path))))
        relion("pipeliner", "--addJobFromStar", "typed.star")
        relion("pipeliner", "--RunJobs", f"{JOB}/", "--schedule", "all", "--sec_wait_after", 1)
    return folder


@pytest.fixture
def there(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    return project


def test_its_pipeliner_runs_the_job_and_knows_what_its_results_are(there: Path) -> None:
    told = (there / JOB / "run.out").read_text() + (there / JOB / "run.err").read_text()
    assert (there / JOB / "RELION_JOB_EXIT_SUCCESS").exists(), told
    pipeline = read_star(there / "default_pipeline.star").blocks
    nodes = pipeline["pipeline_nodes"]
    kind = dict(zip(nodes["rlnPipeLineNodeName"], nodes["rlnPipeLineNodeType"].astype(int), strict=True))
    assert kind[f"{RUN}/particles.star"] == kind["particles.star"]
    assert kind[f"{RUN}/maps/map.mrc"] == kind["consensus.mrc"]
    assert kind[f"{RUN}/maps/mask.mrc"] == kind["mask.mrc"]
    assert kind[f"{RUN}/maps/map_half1.mrc"] == kind[f"{RUN}/maps/map_half2.mrc"] == 10


def test_its_postprocess_takes_the_half_maps_and_finds_the_same_fsc(there: Path) -> None:
    """Its mask of randomised phases is drawn anew every time, so that the corrected curve is compared loosely."""
    half1, half2, mask = (RUN / "maps" / f"{name}.mrc" for name in ("map_half1", "map_half2", "mask"))
    Path("PostProcess").mkdir()
    relion("postprocess", "--i", half1, "--mask", mask, "--angpix", read_map(half1).pixel_size, "--o", "PostProcess/p")
    theirs = read_star(Path("PostProcess/p.star")).blocks["fsc"]
    ours = fsc(half1, half2, mask=mask)
    for name, curve in (("UnmaskedMaps", ours.unmasked), ("MaskedMaps", ours.masked)):
        column = theirs[f"rlnFourierShellCorrelation{name}"].astype(float).to_numpy()
        assert np.abs(column[1:] - np.asarray(curve)[1 : len(column)]).max() < 0.02


def test_its_reconstruct_takes_the_table_of_a_run(there: Path) -> None:
    half1 = RUN / "maps" / "rigid_half1.mrc"
    table = RUN / "particles.star"
    relion(
        "reconstruct", "--i", table, "--o", "theirs.mrc", "--ctf", "--subset", 1, "--angpix", read_map(half1).pixel_size
    )
    agreement = np.asarray(fsc("theirs.mrc", half1, mask=RUN / "maps" / "mask.mrc").masked)
    assert agreement[1:6].min() > 0.95
