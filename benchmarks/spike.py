"""Does a receptor-binding domain that rises come into sight? Pictures before and after, one JSON line per half.

    python benchmarks/spike.py                          simulate, run 3DFlex with default settings, score
    python benchmarks/spike.py OUT                      the same, kept: OUT/particles and OUT/flex
    python benchmarks/spike.py OUT --run RUN            score a finished run of either method on OUT/particles

6,000 particles, box 96 at 3 Å, SNR 0.05, spread evenly over a path through structures with 0 and 1 domains up;
`--path 0,1,2,3` raises all three, one after the other. The mesh is cut around every domain that opens and around what
it hangs on, and fused where the chain passes. The structures come from `../shared/data`; where they are absent there is
nothing to do, and the script says so.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from bodies import BodyScene, read_scene, write_data_set
from judge import dynaflex, figures, show, trained
from spike_picture import draw_before_and_after
from spike_scene import FILE, segment_labels, spike

from dynaflex.grid import Grid
from dynaflex.io.mrc import read_map, write_map
from dynaflex.judge.scene import Judge
from dynaflex.judge.scoring import half_maps

ROOT = Path(__file__).resolve().parents[1]
STRUCTURES = ROOT.parent / "shared" / "data" / "structures" / FILE
PARTICLES, GRID, SNR = 6000, Grid(96, 3.0), 0.05


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("out", type=Path, nargs="?", help="folder for particles and run; default: a temporary one")
    options.add_argument("--run", type=Path, help="finished run directory on OUT/particles")
    options.add_argument("--structures", type=Path, default=STRUCTURES, help="superposed structures, .npz")
    options.add_argument("--path", default="0,1", help="which of them, in the order in which they are passed")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--until", choices=("particles", "scores"), default="scores", help="where to stop")
    options.add_argument("--picture", type=Path, default=ROOT / "docs" / "figures" / "spike.png")
    given = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        out = given.out or Path(scratch)
        data = out / "particles"
        if not (data / "truth.npz").is_file():
            if not given.structures.is_file():
                print(f"skipped: no structures at {given.structures}", file=sys.stderr)
                return
            chosen = [int(index) for index in given.path.split(",")]
            written(data, spike(given.structures, chosen, PARTICLES, GRID, given.seed), given.seed)
        if given.until == "scores":
            judged(given.run or trained("flex", data, out / "flex", "--mesh", cut_mesh(data)), data, given.picture)


def cut_mesh(data: Path) -> Path:
    """The mesh of the consensus map in segments: each domain that opens hangs on its subdomain, and that on the rest.

    Segment 0 is the rest; the odd ones are subdomains, each followed by its domain.
    """
    segments = data / "segments.mrc"
    pairs = [(rest, rest + 1) for rest in range(1, int(read_map(segments).data.max()), 2)]
    fuse = ",".join(f"0>{held},{held}>{opening}" for held, opening in pairs)
    files = (data / "consensus.mrc", "--mask", data / "mask.mrc", "--segments", segments)
    dynaflex("mesh", *files, "--fuse", fuse, "-o", data / "mesh.npz")
    return data / "mesh.npz"


def judged(run: Path, data: Path, picture: Path) -> None:
    """Print the scores of both halves and draw the first."""
    scene = read_scene(data / "truth.npz")
    for half in (1, 2):
        show({"benchmark": "spike", **figures(run, data, scene, half)})
    maps = half_maps(run, 1)
    state = Judge(scene).state(maps["corrected"])
    draw_before_and_after(picture, scene, state, maps["rigid"].numpy(), maps["corrected"].numpy())


def written(out: Path, scene: BodyScene, seed: int) -> None:
    """The files of `dynaflex simulate`, for the spike."""
    scene = write_data_set(out, scene, SNR, seed)
    labels = segment_labels(scene, scene.mask(None, None) > 0.0)
    write_map(out / "segments.mrc", labels.float().numpy(), scene.grid.pixel_size)


if __name__ == "__main__":
    main()
