"""Laws of cutting the mesh of a half in its training: nothing jumps, evidence decides, and a cut is resumed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dynaflex.mesh.fuse import segmented_mesh
from dynaflex.mesh.segments import LabelledMesh
from dynaflex.methods.flex import where_cut
from dynaflex.methods.flex.build import cut_model
from dynaflex.methods.flex.config import FlexConfig
from dynaflex.methods.flex.train import FlexTrainer
from dynaflex.methods.meshed.model import on_mesh
from dynaflex.model import FlexModel
from dynaflex.results.trained import ALIGNMENT, load_half
from dynaflex.run.directory import Run
from dynaflex.run.ledger import Ledger
from dynaflex.shapes import Tensor
from dynaflex.training.steps import Diverged

MakeFlex = Callable[..., FlexTrainer]


def halved(model: FlexModel) -> LabelledMesh:
    """The mesh of a model with its map cut in two, at x = 0."""
    moves, density = on_mesh(model)
    labels = torch.full((density.grid.box**3,), -1)
    labels[density.voxels] = (density.grid.points()[density.voxels, 0] > 0.0).long()
    labels = labels.view((density.grid.box,) * 3)
    apart = segmented_mesh(moves.mesh, labels, density.grid, [], [], separate=True)
    return LabelledMesh(apart.mesh, labels, density.grid)


def test_a_cut_changes_no_voxel_of_the_map(flex_run: Path, tmp_path: Path) -> None:
    """While it trains: a half that has come to rest elsewhere has voxels that lie on no grid."""
    run = Path(shutil.copytree(flex_run, tmp_path / "run"))
    Ledger(run).forget(ALIGNMENT)
    whole = load_half(Run.open(run), 1).model
    cut = cut_model(whole, halved(whole), FlexConfig(), torch.Generator())
    assert int(on_mesh(cut)[0].mesh.segment.max()) == 1 and cut.latents is whole.latents
    assert torch.equal(on_mesh(cut)[1].voxels, on_mesh(whole)[1].voxels)
    torch.testing.assert_close(cut.density.volume(whole.grid), whole.density.volume(whole.grid))


@pytest.mark.parametrize("gain", [1.0, 0.0], ids=["likelier", "not likelier"])
def test_held_out_particles_decide(make_flex: MakeFlex, monkeypatch: pytest.MonkeyPatch, gain: float) -> None:
    trainer = make_flex(share=0.9)
    whole, before = trainer.model, {name: value.clone() for name, value in trainer.model.state_dict().items()}
    monkeypatch.setattr(where_cut, "that_slide", lambda *_: torch.arange(2))
    monkeypatch.setattr(trainer, "_told_apart", lambda _points, bodies: bodies)
    for cutting in ("apart", "joined"):
        monkeypatch.setattr(where_cut, cutting, lambda *_: halved(whole))
    random = torch.Generator().manual_seed(0)

    def evidence(_weights: Tensor) -> Tensor:
        return gain * float(trainer.model is not whole) + 0.5 * torch.randn(200, generator=random)

    monkeypatch.setattr(trainer, "_evidence", evidence)
    told = trainer._choose_mesh(trainer.weights())["cut"]
    assert told[0] == 2 and told[1] == pytest.approx(gain, abs=3.0 * told[2])
    assert (trainer.model is whole) == (gain == 0.0) and trainer.progress.epoch == 0
    assert int(trainer.flow.mesh.segment.max()) == int(gain)
    assert trainer.solver.field.table is trainer.map.table and trainer.likelihood.model is trainer.model
    learned = {id(one) for group in trainer.optimisers["flow"].param_groups for one in group["params"]}
    assert learned == {id(one) for one in trainer.flow.parameters()}
    if gain == 0.0:
        assert all(torch.equal(value, before[name]) for name, value in whole.state_dict().items())
    else:
        # What was tried with the cut is gone on with.
        moved = trainer.flow.displacement(torch.ones(1, 2), trainer.map.landmarks())
        assert float(moved.detach().norm(dim=2).max()) > 0.5


def test_a_trial_that_breaks_down_leaves_nothing_behind(make_flex: MakeFlex, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_flex(share=0.9)
    whole, before = trainer.model, {name: value.clone() for name, value in trainer.model.state_dict().items()}
    monkeypatch.setattr(where_cut, "that_slide", lambda *_: torch.arange(2))
    monkeypatch.setattr(trainer, "_told_apart", lambda _points, bodies: bodies)
    monkeypatch.setattr(where_cut, "apart", lambda *_: halved(whole))

    def breaks_down(*_: object, **__: object) -> None:
        raise Diverged("train.diverged", "a loss that is not a number")

    monkeypatch.setattr(trainer, "_update", breaks_down)
    assert trainer._choose_mesh(trainer.weights()) == {"cut": [2, 0.0, 0.0]}
    assert trainer.model is whole and trainer.solver.field.table is trainer.map.table
    assert all(torch.equal(value, before[name]) for name, value in whole.state_dict().items())


def test_a_training_with_a_cut_is_resumed(make_flex: MakeFlex) -> None:
    trainer, other = make_flex(share=0.9), make_flex(share=0.9)
    generator = torch.Generator().manual_seed(0)
    trainer.take(cut_model(trainer.model, halved(trainer.model), trainer.config, generator))
    state = trainer.model.state_dict()
    other.expect(state)
    other.model.load_state_dict(state)
    z = torch.randn(3, 2, generator=generator)
    places = trainer.map.landmarks()
    assert torch.equal(other.flow.displacement(z, places), trainer.flow.displacement(z, places))
    assert other.optimisers["flow"].param_groups[0]["params"][0] is next(other.flow.parameters())


@pytest.mark.parametrize(("settings", "asked"), [({}, True), ({"cut": "off"}, False)])
def test_a_mesh_is_cut_unless_somebody_forbids_it(
    make_flex: MakeFlex, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], asked: bool
) -> None:
    trainer = make_flex(share=0.9, **settings)
    monkeypatch.setattr(trainer, "_choose_mesh", lambda _weights: {"cut": [3, 0.1, 0.2]})
    trainer.progress.epoch = trainer.config.fixed_map_epochs - 1
    assert trainer.retaken == ({trainer.kind(): 2 * trainer.config.fixed_map_epochs} if asked else {})
    assert ("cut" in trainer._end_motion()) == asked
    trainer.progress.epoch += 1
    assert "cut" not in trainer._end_motion()
