"""How much of known motions of rigid bodies multi-body refinement recovers: one JSON line per half, one for the cost.

    python benchmarks/multibody.py two-hinge                           simulate, run with default settings, and score
    python benchmarks/multibody.py two-hinge --data SIM --run RUN      score a finished run on a simulated data set

Cases: `hinge`, where one body turns and another only might; `two-hinge`, where both turn; `touching`, where they shear
along each other. Without a case, all of them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from judge import asked, figures, show, trained
from simulated import scene_of, simulated

CASES = ("hinge", "two-hinge", "touching")


def main() -> None:
    given = asked(__doc__, "multibody", CASES)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        for case in CASES if given.case is None else [given.case]:
            data = given.data or simulated(Path(scratch) / case, case)
            segments = ("--segments", data / "segments.mrc")
            run = given.run or trained("multibody", data, Path(scratch) / f"{case}-run", *segments)
            for half in (1, 2):
                show({"benchmark": f"multibody {case}", **figures(run, data, scene_of(data), half)})


if __name__ == "__main__":
    main()
