"""Load what dynaflex exported into a cryoSPARC workspace, as an External job. Needs cryosparc-tools and nothing else.

    pip install cryosparc-tools
    python -m cryosparc.tools login
    python external_job.py P3 W1 --url http://localhost:39000

Every group of results in the folder of this script becomes an output of the job: particles with all their columns and
their components, and the maps, which are copied into the project. Images stay where they are.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

GROUPS = {
    "particles": ("particle", "Particles with the components of their motion"),
    "excluded": ("particle", "Particles that were not used"),
    "volume": ("volume", "Map corrected for the motion"),
    "volume_noflex": ("volume", "Map of the same particles without the motion"),
    "mask": ("mask", "Mask"),
    "latents": ("particle", "A path through the components"),
}
"""Every group of results that there may be, the file ``NAME.cs`` of each: its type and its title in cryoSPARC."""
_NUMBERED = (
    (re.compile(r"components_mode_\d+"), "components"),
    (re.compile(r"alignments_class_\d+"), "alignments3D"),
)


def kind_of(group: str, slot: str) -> str:
    """What cryoSPARC calls the kind of a slot, the name before the slash of a column, in a type of group."""
    if group in ("volume", "mask"):
        return "blob"
    return next((kind for pattern, kind in _NUMBERED if pattern.fullmatch(slot)), slot)


def load(project: Any, workspace: str, folder: Path, title: str = "dynaflex") -> str:
    """Make an External job in a ``workspace`` of a cryosparc-tools ``project`` with all groups in a folder; its uid."""
    from cryosparc.dataset import Dataset

    job = project.create_external_job(workspace, title=title)
    found = {name: Dataset.load(folder / f"{name}.cs") for name in GROUPS if (folder / f"{name}.cs").is_file()}
    for name, dataset in found.items():
        group, words = GROUPS[name]
        slots = [{"name": slot, "dtype": kind_of(group, slot)} for slot in sorted(dataset.prefixes())]
        job.add_output(type=group, name=name, slots=slots, title=words)
    # cryoSPARC takes results from a job that runs, and from no other.
    with job.run():
        for name, dataset in found.items():
            if GROUPS[name][0] in ("volume", "mask"):
                _upload(job, dataset, folder)
            job.save_output(name, dataset)
    return str(job.uid)


def _upload(job: Any, dataset: Any, folder: Path) -> None:
    """Copy the maps of a group into the job, and name them as the project does."""
    for slot in dataset.prefixes():
        names = [str(path).removeprefix(">") for path in dataset[f"{slot}/path"]]
        for name in names:
            job.upload(name, folder / name, overwrite=True)
        dataset[f"{slot}/path"] = [f"{job.uid}/{name}" for name in names]


def main() -> None:
    """Load a folder into a project of the server that ``python -m cryosparc.tools login`` was given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("project", help="the project, such as P3")
    parser.add_argument("workspace", help="the workspace, such as W1")
    parser.add_argument("--url", default=os.environ.get("CRYOSPARC_BASE_URL", "http://localhost:39000"))
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--title", default="dynaflex")
    given = parser.parse_args()
    from cryosparc.tools import CryoSPARC

    uid = load(CryoSPARC(given.url).find_project(given.project), given.workspace, given.folder, given.title)
    print(f"{given.project} {uid}: its outputs can be connected to other jobs")


if __name__ == "__main__":
    main()
