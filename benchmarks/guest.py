"""What is bound to some particles only: does the map of their state show it, and the run's map carried there not?

    python benchmarks/guest.py PARTICLES OUT [METHOD]

PARTICLES is a folder of `dynaflex simulate`. In OUT a copy is made in which a ball of protein sits beside the body of
those particles whose first coordinate is in the upper third, a run is made on it, and a JSON line written for each map:
how much of the ball it shows, of the whole ball that the bound have. The average of all particles has a third of it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import torch

from dynaflex import fourier
from dynaflex.data.particles import read_particles
from dynaflex.imaging.ctf import transfer_function
from dynaflex.imaging.pose import project
from dynaflex.imaging.splat import splat
from dynaflex.io.mrc import read_map
from dynaflex.judge.scene import SimulatedScene
from dynaflex.products.states.chosen import Chosen, around
from dynaflex.products.states.surroundings import Surroundings
from dynaflex.products.states.written import make_state
from dynaflex.results.reopen import reopened
from dynaflex.results.volumes import along_axis, carried_map
from dynaflex.run.directory import Run
from dynaflex.shapes import Array, Tensor
from dynaflex.simulation.fourier_sum import gaussian_envelope

WIDTH, ATOMS, BESIDE = 5.0, 40, 8.0
"""The ball: a Gaussian of that width in Å, of so many atoms' mass, so far from the outermost atom of the body."""
SEEN_AT = 8.0
CPU = torch.device("cpu")


def main() -> None:
    """Plant, train and measure."""
    source, out = map(Path, sys.argv[1:3])
    method = sys.argv[3] if len(sys.argv) > 3 else "dynamight"
    scene = SimulatedScene.read(source / "truth.npz")
    data, path = out / "particles", out / method
    bound = scene.coordinate[:, 0] > np.quantile(scene.coordinate[:, 0], 2.0 / 3.0)
    place = beside_the_body(scene)
    if not data.exists():
        plant(source, data, scene, place, bound)
    if not path.exists():
        program = [sys.executable, "-c", "from dynaflex.cli.main import main; main()", method, data / "particles.star"]
        asked = ["--map", data / "consensus.mrc", "--mask", data / "mask.mrc", "-o", path, "--until", "reconstruct"]
        subprocess.run([*map(str, [*program, *asked])], check=True, stdout=subprocess.DEVNULL)
    run = Run.open(path)
    both, inputs = Surroundings(run), reopened(run)
    latents = both.halves[1].latents.mean
    carried = carried_map(run, both.halves[1])
    chosen = {f"place {number}": around(run, both, z.numpy(), 1) for number, z in enumerate(along_axis(latents, 0, 5))}
    chosen |= {"bound": Chosen("bound", "bound", np.flatnonzero(bound))}
    for name, one in {**chosen, "unbound": Chosen("unbound", "unbound", np.flatnonzero(~bound))}.items():
        folder = out / f"{method}_{name.replace(' ', '_')}"
        said = make_state(run, inputs, both, one, folder, CPU)
        origin = torch.tensor(said["latents"]["half1"])
        truth = scene.volume(scene.coordinate[one.rows].mean(axis=0))
        maps = {"state": mean_of_halves(folder, "map"), "combined": mean_of_halves(folder, "combined")}
        maps["carried"] = carried.at(origin)
        share = {kind: round(shown(volume, truth, scene, place), 2) for kind, volume in maps.items()}
        has = round(float(bound[one.rows].mean()), 2)
        print(
            json.dumps(
                {"run": method, "chosen": name, "particles": list(said["particles"].values()), "have_it": has} | share
            )
        )


def beside_the_body(scene: SimulatedScene) -> Tensor:
    """A place ``(1 3)`` in Å at the body, as far from all else as there is."""
    body, others = (scene.points[(scene.domain == scene.still.index) == own] for own in (True, False))
    away = body.mean(axis=0) - others.mean(axis=0)
    outermost = body[np.argmax((body - body.mean(axis=0)) @ away)]
    outwards = outermost - body.mean(axis=0)
    return torch.from_numpy(outermost + BESIDE * outwards / np.linalg.norm(outwards)).float()[None]


def plant(source: Path, data: Path, scene: SimulatedScene, place: Tensor, bound: Array) -> None:
    """A copy of the particles with the ball in the images of those that have ``bound`` it."""
    shutil.copytree(source, data)
    (data / ".dynaflex-simulation.json").unlink(missing_ok=True)
    particles, grid = read_particles(data / "particles.star"), scene.grid
    envelope, mass = gaussian_envelope(grid, 2, WIDTH), torch.tensor([ATOMS * scene.truth.amplitude]).float()
    with mrcfile.open(data / "particles.mrcs", "r+") as stack:
        for part in torch.from_numpy(np.flatnonzero(bound)).split(64):
            pose, ctf = (of[part].to(CPU) for of in (particles.pose, particles.ctf))
            ball = splat(project(place, pose), mass, grid) * transfer_function(ctf, grid) * envelope
            stack.data[part.numpy()] += fourier.inverse_transform(ball, 2).numpy()


def mean_of_halves(folder: Path, kind: str) -> Tensor:
    """The mean of two half-maps, which no FSC has weighted."""
    return torch.from_numpy(np.mean([read_map(folder / f"{kind}_half{half}.mrc").data for half in (1, 2)], axis=0))


def shown(volume: Tensor, truth: Tensor, scene: SimulatedScene, place: Tensor) -> float:
    """The part of the ball that a map shows, on the scale at which it shows the body; both low-passed."""
    grid = scene.grid
    near = (-(grid.points() - place).square().sum(dim=1) / (2.0 * WIDTH**2)).exp().view(truth.shape)
    ball = near * (ATOMS * scene.truth.amplitude / float(near.sum()))
    volume, truth, ball = (fourier.low_pass(one, grid, SEEN_AT) for one in (volume, truth, ball))
    body = scene.mask(None, scene.still) * (1.0 - near)
    scale = float((volume * truth * body).sum() / (truth * truth * body).sum())
    around_it = near > 0.1
    left = (volume / scale - truth)[around_it]
    return float((left * ball[around_it]).sum() / ball[around_it].square().sum())


if __name__ == "__main__":
    main()
