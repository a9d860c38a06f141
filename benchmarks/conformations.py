"""What `dynaflex volumes --particles` shows of a particle, against its true conformation, by CryoBench's FSC area.

    python benchmarks/conformations.py PARTICLES RUN...

PARTICLES is a folder of `dynaflex simulate`. One JSON line a run: the mean area over 40 particles, over the whole
box and within the moving part, and how much of the way it is from the consensus map to the truth.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from dynaflex.io.mrc import read_map
from dynaflex.judge.scene import SimulatedScene
from dynaflex.run.directory import Run
from dynaflex.run.files import read_latents
from dynaflex.shapes import Tensor
from dynaflex.validate.cryobench import fsc_area

SHOWN = 40


def main() -> None:
    """Measure every run that is named."""
    particles, *runs = map(Path, sys.argv[1:])
    scene = SimulatedScene.read(particles / "truth.npz")
    consensus = torch.from_numpy(read_map(particles / "consensus.mrc").data)
    for run in runs:
        rows = read_latents(Run.open(run)).rows
        chosen = rows[:: max(1, len(rows) // SHOWN)][:SHOWN].tolist()
        with tempfile.TemporaryDirectory() as folder:
            command = [Path(sys.executable).with_name("dynaflex"), "volumes", run, "-o", folder]
            subprocess.run([*map(str, command), "--particles", ",".join(map(str, chosen))], check=True)
            shown = [torch.from_numpy(read_map(path).data) for path in sorted(Path(folder).glob("vol_*.mrc"))]
        print(json.dumps({"run": run.name, **covered(scene, consensus, chosen, shown)}), flush=True)


def covered(scene: SimulatedScene, consensus: Tensor, rows: list[int], shown: list[Tensor]) -> dict[str, object]:
    """Areas of the consensus and of what is shown, and the part of the way to a perfect map, whole and moving part."""
    areas: dict[str, list[tuple[float, float]]] = {"whole": [], "moving": []}
    for row, volume in zip(rows, shown, strict=True):
        state = scene.coordinate[row]
        true = scene.volume(state)
        for part, mask in (("whole", None), ("moving", scene.mask(state, scene.moving[0]))):
            areas[part].append((fsc_area(consensus, true, mask), fsc_area(volume, true, mask)))
    perfect = 0.5 - 1.0 / scene.grid.box
    found: dict[str, object] = {"particles": len(rows), "perfect": round(perfect, 4)}
    for part, pairs in areas.items():
        before, after = np.array(pairs).mean(axis=0)
        found[part] = {
            "consensus": round(float(before), 4),
            "volumes": round(float(after), 4),
            "of_the_way": round(float((after - before) / (perfect - before)), 3),
        }
    return found


if __name__ == "__main__":
    main()
