"""Laws of maps from the particles around a conformation: they show the truth there, and no half knows the other."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from drowned import Drowned
from dynaflex.io.mrc import read_map
from dynaflex.judge.scene import SimulatedScene
from dynaflex.prepare.inputs import Inputs
from dynaflex.products.states.from_particles import FromParticles, lack
from dynaflex.products.states.surroundings import FEWEST, Node, Surroundings
from dynaflex.results.volumes import along_axis
from dynaflex.run.directory import Run
from dynaflex.validate.cryobench import fsc_area
from scripts import commands, opened

Command = Callable[..., Any]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(finished_run: Path) -> Run:
    return Run.open(finished_run)


@pytest.fixture(scope="module")
def ends(both: Surroundings) -> list[Node]:
    """The ends of the main axis of half 1."""
    trained = both.halves[1]
    return [(trained, z) for z in along_axis(trained.latents.mean, 0, 2)]


def listed(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_the_particles_show_the_truth_at_both_ends_better_than_the_map_at_rest(
    run: Run, inputs: Inputs, both: Surroundings, ends: list[Node], simulated: Path
) -> None:
    scene = SimulatedScene.read(simulated / "truth.npz")
    made = FromParticles(run, inputs, both, ends, CPU, 40)
    rest = torch.from_numpy(read_map(simulated / "consensus.mrc").data)
    states = []
    for around, found in zip(made.around, made.maps(), strict=True):
        assert found is not None
        rows = np.concatenate([both.halves[half].rows.numpy()[part.index] for half, part in around.items()])
        states.append(scene.coordinate[rows].mean(axis=0))
        true = scene.volume(states[-1])
        for part, gained in ((None, 0.01), (scene.moving[0], 0.05)):
            mask = scene.mask(states[-1], part)
            assert fsc_area(found.merged, true, mask) > fsc_area(rest, true, mask) + gained
        judged = made.compared(true, found)
        assert judged.correlation > judged.at_rest
    assert np.sign(states[0]) == -np.sign(states[1])


def test_the_nearest_particles_of_each_half_are_taken(both: Surroundings, ends: list[Node]) -> None:
    for node in ends:
        for count in (25, 60):
            found = both.around(node, count)
            assert list(found) == [1, 2]
            for half, part in found.items():
                assert len(np.unique(part.index)) == len(part.index) <= count
                assert part.index.max() < len(both.halves[half].rows)
                assert (np.diff(part.distance) >= 0).all() and part.distance.max() <= both.reach
        fewer, more = both.around(node, 25)[2], both.around(node, 60)[2]
        assert np.array_equal(fewer.index, more.index[: len(fewer.index)])
        assert len(both.around(node)[1].index) == FEWEST == round(0.1 * len(both.halves[1].rows))


def test_a_particle_is_the_nearest_to_itself(both: Surroundings) -> None:
    for half, trained in both.halves.items():
        found = both.around((trained, trained.latents.mean[7]))[half]
        assert found.index[0] == 7 and found.distance[0] == pytest.approx(0.0, abs=1e-4)


def test_no_half_sees_the_images_of_the_other(run: Run, inputs: Inputs, both: Surroundings, ends: list[Node]) -> None:
    drowned = replace(
        inputs,
        particles=Drowned(**{field.name: getattr(inputs.particles, field.name) for field in fields(inputs.particles)}),
    )
    clear, other = (next(FromParticles(run, one, both, ends[:1], CPU).maps()) for one in (inputs, drowned))
    assert clear is not None and other is not None
    assert torch.equal(clear.halves[1], other.halves[1])
    correlation = torch.corrcoef(torch.stack([clear.halves[2].flatten(), other.halves[2].flatten()]))[0, 1]
    assert abs(correlation) < 0.2
    assert (other.resolution or np.inf) > 2 * (clear.resolution or np.inf)


def test_the_same_conformation_is_found_in_the_other_half(both: Surroundings, ends: list[Node]) -> None:
    points = both.halves[1].model.density.landmarks().detach()
    each = both.in_each_half(ends)
    assert all(torch.equal(own, asked) for (_, own), (_, asked) in zip(each[1], ends, strict=True))
    moved = {
        half: torch.stack([part.displacements(z[None].float(), points)[0] for part, z in nodes])
        for half, nodes in each.items()
    }
    apart = {half: one[1] - one[0] for half, one in moved.items()}
    assert (apart[1] - apart[2]).norm() < 0.35 * apart[1].norm()


def test_both_halves_carry_their_own_map(command: Command, finished_run: Path, tmp_path: Path) -> None:
    outcome = command("volumes", finished_run, "-o", tmp_path, "--axis", 1, "--frames", 3, "--map", "half")
    assert outcome.code == 0, outcome.err
    names = {half: [f"vol_{number:03d}_half{half}.mrc" for number in range(3)] for half in (1, 2)}
    assert listed(tmp_path) == {*names[1], *names[2], "volumes.cxc"}
    maps = {half: [read_map(tmp_path / name).data for name in series] for half, series in names.items()}
    for half, series in maps.items():
        mass = read_map(finished_run / "maps" / f"map_half{half}.mrc").data.sum()
        assert np.allclose([one.sum() for one in series], mass, rtol=0.01)
    for first, second in zip(maps[1], maps[2], strict=True):
        assert 0.5 < np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.9999
    script = tmp_path / "volumes.cxc"
    assert opened(script) == list(names.values())
    assert commands(script, "vseries play")[0][2] == "#1,2"


def test_maps_of_particles_stand_beside_those_that_were_carried(
    command: Command, finished_run: Path, tmp_path: Path
) -> None:
    asked = ("volumes", finished_run, "-o", tmp_path, "--axis", 1, "--frames", 3)
    outcome = command(*asked, "--from-particles", "--nearest", 30)
    assert outcome.code == 0, outcome.err
    pairs = {f"{name}_{number:03d}.mrc" for name in ("vol", "particles") for number in range(3)}
    halves = {f"particles_{number:03d}_half{half}.mrc" for number in range(3) for half in (1, 2)}
    assert listed(tmp_path) == pairs | halves | {"particles.csv", "volumes.cxc"}
    table = pd.read_csv(tmp_path / "particles.csv")
    assert table["node"].tolist() == [0, 1, 2]
    assert table[["particles_half1", "particles_half2"]].to_numpy().max() == 30
    assert (table["carried_correlation"][[0, 2]] > table["rest_correlation"][[0, 2]]).all()
    assert all(column in outcome.out for column in table.columns)
    # A series without them leaves none of theirs behind.
    assert command(*asked).code == 0
    assert listed(tmp_path) == {*(f"vol_{number:03d}.mrc" for number in range(3)), "volumes.cxc"}


def test_a_node_without_enough_particles_of_one_half_says_of_which(
    run: Run, inputs: Inputs, both: Surroundings, ends: list[Node], tmp_path: Path
) -> None:
    narrow = copy(both)
    furthest = {half: float(part.distance[-1]) for half, part in both.around(ends[0], FEWEST).items()}
    poor = max(furthest, key=lambda half: furthest[half])
    narrow.reach = min(furthest.values())
    made = FromParticles(run, inputs, narrow, ends[:1], CPU)
    (said,) = map(lack, made.around)
    assert f"half {poor} has" in said and f"half {3 - poor}" not in said
    assert list(made.maps()) == [None]


def test_a_conformation_far_from_all_particles_has_no_map_of_them(
    command: Command, finished_run: Path, tmp_path: Path, both: Surroundings
) -> None:
    mean = both.halves[1].latents.mean.mean(dim=0)
    np.save(tmp_path / "z.npy", torch.stack([mean, mean + 1000.0]).numpy())
    out = tmp_path / "out"
    outcome = command("volumes", finished_run, "-o", out, "--latents", tmp_path / "z.npy", "--from-particles")
    assert outcome.code == 0, outcome.err
    assert "node 1" in outcome.err and "half 1 has 0 of the 20 particles" in outcome.err and "half 2" in outcome.err
    assert (out / "vol_001.mrc").exists() and not list(out.glob("particles_001*"))
    assert (out / "particles_000.mrc").exists()
    row = pd.read_csv(out / "particles.csv").iloc[1]
    assert row["particles_half1"] == 0 and np.isnan(row["resolution_A"])
    assert "vol_001.mrc" not in (out / "volumes.cxc").read_text()


def test_too_few_particles_are_not_asked_for(command: Command, finished_run: Path, tmp_path: Path) -> None:
    outcome = command(
        "volumes", finished_run, "-o", tmp_path / "v", "--axis", 1, "--from-particles", "--nearest", 5
    )  # fmt: skip
    assert outcome.code == 2 and "--nearest" in outcome.err and not (tmp_path / "v").exists()
