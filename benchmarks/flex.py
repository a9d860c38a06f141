"""How much of known motions 3DFlex recovers, and what it gains: one JSON line per half, one for the cost of a run.

    python benchmarks/flex.py hinge                             simulate, run with default settings, and score
    python benchmarks/flex.py hinge --data SIM --run RUN        score a finished run on a simulated data set

Cases: `hinge`, one coordinate; `two-hinge`, two of them with K = 2; `touching`, arms that shear along each other, on a
regular mesh and on one cut into segments that are fused to the body only; `beyond`, the hinge with training in a box of
40 pixels of the 64: what the reconstruction holds beyond that box's Nyquist frequency. Without a case, all of them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from judge import asked, dynaflex, figures, show, trained
from simulated import scene_of, simulated

MOTION = {"hinge": "hinge", "two-hinge": "two-hinge", "touching": "touching", "beyond": "hinge"}
SMALL_BOX = 40
CONNECTIONS = "0>1,0>2"
"""The body with each arm; the arms, segments 1 and 2, touch but are not joined."""


def main() -> None:
    given = asked(__doc__, "flex", MOTION)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        for case in MOTION if given.case is None else [given.case]:
            data = given.data or simulated_once(Path(scratch) / MOTION[case])
            runs = {"given": given.run} if given.run else runs_of(case, data, Path(scratch) / f"{case}-runs")
            for mesh, run in runs.items():
                for half in (1, 2):
                    show({"benchmark": case, "mesh": mesh, **figures(run, data, scene_of(data), half)})


def simulated_once(out: Path) -> Path:
    """The data set of a motion, which the cases share."""
    return out if out.is_dir() else simulated(out, out.name)


def runs_of(case: str, data: Path, out: Path) -> dict[str, Path]:
    """The runs of a case by the mesh that they use."""
    out.mkdir()
    match case:
        case "beyond":
            return {"regular": trained("flex", data, out / "regular", "--train-box", SMALL_BOX)}
        case "touching":
            mesh = segmented_mesh(data, out / "mesh.npz")
            regular = trained("flex", data, out / "regular")
            return {"regular": regular, "segmented": trained("flex", data, out / "segmented", "--mesh", mesh)}
    return {"regular": trained("flex", data, out / "regular")}


def segmented_mesh(data: Path, out: Path) -> Path:
    """The mesh cut into body and arms, which are fused where they touch the body."""
    files = (data / "consensus.mrc", "--mask", data / "mask.mrc", "--segments", data / "segments.mrc")
    dynaflex("mesh", *files, "--fuse", CONNECTIONS, "-o", out)
    return out


if __name__ == "__main__":
    main()
