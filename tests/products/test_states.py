"""Laws of a state: it is shown as it is, by its own particles alone, and no half knows the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

import dynaflex as df
from drowned import Drowned
from dynaflex import tell
from dynaflex.errors import UsageError
from dynaflex.grid import Grid
from dynaflex.io.mrc import read_map
from dynaflex.judge.scene import SimulatedScene
from dynaflex.prepare.inputs import Inputs
from dynaflex.products.states.chosen import Chosen, around, particle_error, state_of
from dynaflex.products.states.combined import carried_halves
from dynaflex.products.states.surroundings import Surroundings
from dynaflex.products.states.written import make_state, require_free
from dynaflex.results.half_maps.made import HalfMaps, Recipe
from dynaflex.results.reopen import reopened
from dynaflex.results.volumes import along_axis, carried_map
from dynaflex.run.directory import Run
from dynaflex.validate.cryobench import fsc_area
from scripts import opened

Command = Callable[..., Any]
CPU = torch.device("cpu")
MAPS = {
    "map", "map_half1", "map_half2", "rigid", "rigid_half1", "rigid_half2", "map_local", "local_resolution", "mask",
    "moving_part_mask", "combined", "combined_half1", "combined_half2",
}  # fmt: skip

SHOWN = ("rigid", "map", "combined", "map_half1", "map_half2")


@pytest.fixture(scope="module", params=["dynamight", "flex"])
def run(request: pytest.FixtureRequest) -> Run:
    """A whole run of either method."""
    return Run.open(request.getfixturevalue("finished_run" if request.param == "dynamight" else "flex_run"))


@pytest.fixture(scope="module")
def scene(simulated: Path) -> SimulatedScene:
    return SimulatedScene.read(simulated / "truth.npz")


def origin_of(folder: Path) -> torch.Tensor:
    """The latents of a state by the model of half 1."""
    return torch.tensor(json.loads((folder / "state.json").read_text())["latents"]["half1"])


def opened_wide(scene: SimulatedScene) -> Chosen:
    """All that are on one side of the hinge, so that there is motion within the state."""
    return Chosen("wide", "one side", np.flatnonzero(scene.coordinate[:, 0] > np.radians(4.0)))


def test_the_state_is_shown_and_not_the_whole_run_nor_a_blur(
    run: Run, inputs: Inputs, both: Surroundings, scene: SimulatedScene, tmp_path: Path
) -> None:
    chosen = opened_wide(scene)
    make_state(run, inputs, both, chosen, tmp_path, CPU)
    state = scene.coordinate[chosen.rows].mean(axis=0)
    true, arm = scene.volume(state), scene.mask(state, scene.moving[0])

    def shown(path: Path) -> float:
        return fsc_area(torch.from_numpy(read_map(path).data), true, arm)

    corrected, carried = shown(tmp_path / "map.mrc"), carried_map(run, both.halves[1]).at(origin_of(tmp_path))
    assert shown(tmp_path / "combined.mrc") > max(corrected, fsc_area(carried, true, arm)) - 0.005
    assert corrected > shown(tmp_path / "rigid.mrc") + 0.005
    assert corrected > shown(run.maps / "map.mrc") + 0.05
    mask = torch.from_numpy(read_map(tmp_path / "mask.mrc").data)
    molecule = scene.mask(state, None) > 0.9
    assert (mask[molecule] > 0.5).float().mean() > 0.98


@pytest.mark.parametrize(("box", "known"), [(1.0, {1, 2}), (0.5, set())])
def test_a_run_is_carried_into_a_state_whatever_a_header_makes_of_its_pixels(
    run: Run, inputs: Inputs, both: Surroundings, scene: SimulatedScene, box: float, known: set[int]
) -> None:
    """Headers hold 32 bits. In another box nothing is known of it, and that is said."""
    grid = inputs.full_imaging.grid
    made = HalfMaps(Grid(int(box * grid.box), grid.pixel_size * (1.0 + 1e-8) / box), torch.zeros(0), {}, {}, {})
    state = state_of(run, both, opened_wide(scene))
    heard = Mock()
    with tell.listening(heard):
        assert set(carried_halves(run, inputs, both, state, made, Recipe())) == known
    said = [str(call.args[0]) for call in heard.say.call_args_list]
    assert not said if known else f"{grid.box} voxels, these of {grid.box // 2}" in said[0]


def test_no_half_sees_the_images_of_the_other(
    run: Run, inputs: Inputs, both: Surroundings, scene: SimulatedScene, tmp_path: Path
) -> None:
    chosen = opened_wide(scene)
    seen = {}
    for name, one in (
        ("clear", inputs),
        (
            "drowned",
            replace(
                inputs,
                particles=Drowned(
                    **{field.name: getattr(inputs.particles, field.name) for field in fields(inputs.particles)}
                ),
            ),
        ),
    ):
        make_state(run, one, both, chosen, tmp_path / name, CPU, recipe=Recipe(solver="backprojection"))
        seen[name] = [read_map(tmp_path / name / f"map_half{half}.mrc").data for half in (1, 2)]
    assert np.array_equal(seen["clear"][0], seen["drowned"][0])
    assert abs(np.corrcoef(seen["clear"][1].ravel(), seen["drowned"][1].ravel())[0, 1]) < 0.2


def test_each_half_is_in_the_middle_of_its_own_particles(run: Run, both: Surroundings, scene: SimulatedScene) -> None:
    state = state_of(run, both, opened_wide(scene))
    for half, trained in both.halves.items():
        part = state.parts[half]
        points = trained.model.density.landmarks().detach()[::7]
        mean = trained.displacements(trained.latents.mean[part.index], points).mean(dim=0)
        at_rest = trained.displacements(part.origin[None], points)[0]
        everyone = trained.displacements(trained.latents.mean, points).mean(dim=0)
        assert (at_rest - mean).norm() < 0.2 * (everyone - mean).norm()


def test_around_a_place_are_the_nearest_and_all_that_cannot_be_told_from_it(run: Run, both: Surroundings) -> None:
    z = along_axis(both.halves[1].latents.mean, 0, 5)[1].numpy()
    rows, some = around(run, both, z).rows, around(run, both, z, nearest=30).rows
    node = (both.halves[1], torch.from_numpy(z))
    for half, trained in both.halves.items():
        distance = both.around(node, len(trained.rows))[half].distance
        within = int((distance <= particle_error(run)).sum())
        assert np.isin(trained.rows.numpy(), rows).sum() == max(within, round(0.1 * len(trained.rows)), 20)
        assert np.isin(trained.rows.numpy(), some).sum() == 30
    assert particle_error(run) > 0.0


def test_another_state_is_not_replaced(
    run: Run, both: Surroundings, scene: SimulatedScene, inputs: Inputs, tmp_path: Path
) -> None:
    chosen, how = opened_wide(scene), Recipe(solver="backprojection", box=16)
    for _ in range(2):
        make_state(run, inputs, both, chosen, tmp_path, CPU, recipe=how)
    for other, recipe in ((replace(chosen, rows=chosen.rows[1:]), how), (chosen, replace(how, box=20))):
        with pytest.raises(UsageError, match=r"\[state.taken\]"):
            require_free(tmp_path, run, other, recipe)


def test_too_few_of_one_half_are_refused(run: Run, both: Surroundings) -> None:
    rows = np.concatenate([both.halves[1].rows.numpy()[:60], both.halves[2].rows.numpy()[:19]])
    with pytest.raises(UsageError, match="half 2 has 19") as refused:
        state_of(run, both, Chosen("few", "few", np.sort(rows)))
    assert refused.value.identifier == "state.too-few"


def test_halves_that_share_a_model_rest_in_one_conformation(brief_of: Callable[..., tuple[Path, Any]]) -> None:
    path, outcome = brief_of("flex", "--half-sets", "shared")
    assert outcome.code == 0, outcome.err
    run = Run.open(path)
    state = state_of(run, Surroundings(run), Chosen("some", "some", np.arange(0, 120, 2)))
    assert torch.equal(state.parts[1].origin, state.parts[2].origin)


def test_a_cluster_is_made_from_the_command_line(command: Command, finished_run: Path, tmp_path: Path) -> None:
    analysis = tmp_path / "analysis"
    assert command("analyze", finished_run, "-o", analysis, "--clusters", 2, "--no-movies").code == 0
    asked = ("reconstruct", finished_run, "--cluster", 1, "--analysis", analysis, "--solver", "backprojection")
    outcome = command(*asked)
    assert outcome.code == 0, outcome.err
    folder = finished_run / "states" / "kmeans1"
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {
        *(f"{name}.mrc" for name in MAPS), "fsc.json", "state.json", "state.cxc", "particles.txt",
    }  # fmt: skip
    said = json.loads((folder / "state.json").read_text())
    rows = np.loadtxt(folder / "particles.txt", dtype=int)
    assert sum(said["particles"].values()) == len(rows) and f"{len(rows)} particles" in outcome.out
    assert opened(folder / "state.cxc") == [[f"{name}.mrc"] for name in SHOWN]
    before = (folder / "map.mrc").read_bytes()
    assert command(*asked).code == 0 and (folder / "map.mrc").read_bytes() == before
    assert command(*asked, "--box", 16).error_line().endswith("[state.taken]")


def test_python_makes_the_same_state(finished_run: Path, simulated: Path, tmp_path: Path) -> None:
    scene = SimulatedScene.read(simulated / "truth.npz")
    rows = opened_wide(scene).rows
    run = df.open(finished_run)
    folder = run.reconstruct(tmp_path / "door", particles=rows.tolist(), solver="backprojection")
    assert np.array_equal(np.loadtxt(folder / "particles.txt", dtype=int), rows)
    with pytest.raises(UsageError, match="no state") as refused:
        run.reconstruct(tmp_path / "none")
    assert refused.value.identifier == "state.none" and not (tmp_path / "none").exists()
    with pytest.raises(UsageError, match="solver") as refused:
        run.reconstruct(tmp_path / "none", cluster=1, solver="magic")
    assert refused.value.identifier == "reconstruct.solver"
    again = make_state(
        Run.open(finished_run), reopened(Run.open(finished_run)), Surroundings(Run.open(finished_run)),
        opened_wide(scene), tmp_path / "beside", CPU, recipe=Recipe(solver="backprojection"),
    )  # fmt: skip
    assert again["latents"] == json.loads((folder / "state.json").read_text())["latents"]
    assert (folder / "map.mrc").read_bytes() == (tmp_path / "beside" / "map.mrc").read_bytes()


def test_a_state_made_from_python_is_in_the_report(finished_run: Path, simulated: Path) -> None:
    rows = opened_wide(SimulatedScene.read(simulated / "truth.npz")).rows
    page = finished_run / "report.html"
    page.write_text("as it was")
    made = df.open(finished_run).reconstruct(particles=rows.tolist(), solver="backprojection")
    assert made.parent == finished_run / "states" and made.name in page.read_text()
