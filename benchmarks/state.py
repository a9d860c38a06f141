"""What the maps of a state show, made of its own particles alone, against its true conformation.

    python benchmarks/state.py PARTICLES RUN...

PARTICLES is a folder of `dynaflex simulate`. One JSON line a state: the neighbourhoods of three places along the main
axis of half 1, of different numbers of particles, and two clusters. Of the corrected map of the state, of its rigid
control, of the run's merged map carried there by half 1 (`dynaflex volumes`), and of that with what the state's own
particles say otherwise (`combined`): the mean FSC with the truth in the moving part, in shells that the training saw,
beyond R0, and in those that it did not; and what the half-maps of the state claim for themselves there.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from dynaflex.analyze.clusters import k_means
from dynaflex.io.mrc import read_map
from dynaflex.judge.scene import SimulatedScene
from dynaflex.prepare.inputs import Inputs
from dynaflex.products.space import conformation_space
from dynaflex.products.states.chosen import Chosen, around, state_of
from dynaflex.products.states.surroundings import Surroundings
from dynaflex.products.states.written import make_state
from dynaflex.reconstruct.carry import CarriedMap
from dynaflex.results.reopen import reopened
from dynaflex.results.trained import config_of
from dynaflex.results.volumes import along_axis, carried_map
from dynaflex.run.directory import Run
from dynaflex.shapes import Array, Tensor
from dynaflex.validate.fsc import fourier_shell_correlation

SHARES = (None, 0.2, 0.4, 1.0)
"""Of each half, besides the default."""
PLACES, CLUSTERS = 5, 6
CPU = torch.device("cpu")


def main() -> None:
    """Measure every run that is named."""
    particles, *runs = map(Path, sys.argv[1:])
    scene = SimulatedScene.read(particles / "truth.npz")
    for path in runs:
        run = Run.open(path)
        inputs, both = reopened(run), Surroundings(run)
        carried = carried_map(run, both.halves[1])
        for label, chosen in states(run, both):
            found = measured(run, inputs, both, chosen, carried, scene)
            print(json.dumps({"run": path.name, "state": label, **found}), flush=True)


def states(run: Run, both: Surroundings) -> list[tuple[str, Chosen]]:
    """Neighbourhoods and clusters, with a name for each."""
    latents = both.halves[1].latents.mean
    smaller = min(len(half.rows) for half in both.halves.values())
    found = []
    for number in (1, 3, 4):
        z = along_axis(latents, 0, PLACES)[number]
        for share in SHARES:
            count = None if share is None else round(share * smaller)
            found.append((f"place {number}, {share or 'default'}", around(run, both, z.numpy(), 1, count)))
    space = conformation_space(run)
    label = k_means(space.motion, CLUSTERS)
    return [*found, *((f"cluster {k}", Chosen(f"c{k}", f"cluster {k}", space.rows[label == k])) for k in (1, 2))]


def measured(
    run: Run, inputs: Inputs, both: Surroundings, chosen: Chosen, carried: CarriedMap, scene: SimulatedScene
) -> dict[str, object]:
    """The figures of a state. Its truth is the mean coordinate of its particles."""
    state = state_of(run, both, chosen)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        said = make_state(run, inputs, both, chosen, folder, CPU)
        maps = {kind: torch.from_numpy(read_map(folder / f"{kind}.mrc").data) for kind in ("map", "rigid", "combined")}
        halves = [torch.from_numpy(read_map(folder / f"map_half{half}.mrc").data) for half in (1, 2)]
    maps["carried"] = carried.at(state.parts[1].origin)
    angle = scene.coordinate[chosen.rows]
    true, mask = scene.volume(angle.mean(axis=0)), scene.mask(angle.mean(axis=0), scene.moving[0])
    bands = shells(run, inputs)

    def means(curve: Tensor) -> list[float]:
        return [round(float(curve[band].mean()), 3) for band in bands]

    half = fourier_shell_correlation(halves[0], halves[1], mask).clamp(0.0, 1.0)
    return {
        "particles": list(said["particles"].values()),
        "largest_distance_A": round(said["largest_distance_A"], 2),
        "true_spread_deg": degrees(angle.std(axis=0)),
        "halves_apart_deg": degrees(
            np.ptp([scene.coordinate[rows_of(both, state.parts[h].index, h)].mean(axis=0) for h in (1, 2)], axis=0)
        ),
        **{kind: means(fourier_shell_correlation(volume, true, mask)) for kind, volume in maps.items()},
        "half_maps_claim": means((2.0 * half / (1.0 + half)).sqrt()),
        "half_maps_mean": means(fourier_shell_correlation(0.5 * (halves[0] + halves[1]), true, mask)),
    }


def rows_of(both: Surroundings, index: Tensor, half: int) -> Array:
    """Rows of the input table."""
    return both.halves[half].rows[index].numpy()


def degrees(values: Array) -> list[float]:
    """For people."""
    return [round(float(value), 2) for value in np.degrees(values)]


def shells(run: Run, inputs: Inputs) -> list[slice]:
    """From R0 to the Nyquist frequency of training, and from there to that of the images, if that is further."""
    grid = inputs.full_imaging.grid
    first = int(grid.width / config_of(run).shared_resolution)
    trained, last = inputs.imaging.grid.n_shells - 1, grid.n_shells - 1
    return [slice(first, trained), *([slice(trained, last)] if last > trained else [])]


if __name__ == "__main__":
    main()
