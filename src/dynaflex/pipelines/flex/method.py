"""3DFlex, as the pipeline that runs every method sees it."""

from __future__ import annotations

from dynaflex import tell
from dynaflex.mesh.segments import LabelledMesh
from dynaflex.pipelines.config import RunConfig
from dynaflex.pipelines.flex.build import build_model, empty_model, rebase, settings_of
from dynaflex.pipelines.flex.carrier import make_carrier
from dynaflex.pipelines.flex.config import FlexConfig
from dynaflex.pipelines.flex.start import given_latents, initial_latents
from dynaflex.pipelines.flex.train import FlexTrainer
from dynaflex.pipelines.half import HalfSet
from dynaflex.pipelines.inputs import Inputs
from dynaflex.pipelines.mesh_store import save_mesh
from dynaflex.pipelines.method import Method, Work
from dynaflex.shapes import Tensor


def examine(inputs: Inputs, config: RunConfig) -> LabelledMesh:
    """The mesh; refuse one, a stationary region or latents that do not fit.

    Raises:
        InputError: they do not.
    """
    labelled = make_carrier(inputs, settings_of(config))
    if inputs.paths.latents is not None:
        given_latents(inputs, settings_of(config))
    return labelled


def prepare(work: Work) -> list[str]:
    """Store the mesh in the run, and say that the halves share it."""
    mesh = plan_of(work).mesh
    save_mesh(work.run.path / "mesh.npz", plan_of(work))
    held = int(mesh.fixed.sum())
    tell.say(
        f"mesh of {len(mesh.vertices)} vertices and {len(mesh.cells)} tetrahedra, edges of {mesh.edge_length():.1f} Å"
        + (f"; {held} vertices held" if held else "")
    )
    source = "the mesh, made around the mask" if work.inputs.paths.mesh is None else "the mesh"
    return [f"{source}, and the stiffness of its cells"]


def trainer(work: Work, data: HalfSet, training: Tensor) -> FlexTrainer:
    """The untrained model of one half with all that its training needs."""
    config = settings_of(work.config)
    model = build_model(work.inputs, plan_of(work), data.half, len(data), config)
    start = initial_latents(work.inputs, data, config)
    return FlexTrainer(model.to(work.device), data, training, config, start)


def plan_of(work: Work) -> LabelledMesh:
    """The mesh that :func:`examine` made."""
    assert isinstance(work.plan, LabelledMesh)
    return work.plan


FLEX = Method("flex", FlexConfig, examine, prepare, trainer, empty_model, rebase)
