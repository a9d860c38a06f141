"""3DFlex, as the pipeline that runs every method sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dynaflex.methods.flex.config import FlexConfig
from dynaflex.methods.meshed.method import MeshMethod
from dynaflex.training.method import Wording, Work

if TYPE_CHECKING:
    from dynaflex.grid import Grid
    from dynaflex.mesh.segments import LabelledMesh
    from dynaflex.methods.flex.train import FlexTrainer
    from dynaflex.model import FlexModel
    from dynaflex.prepare.half import HalfSet
    from dynaflex.prepare.inputs import Inputs
    from dynaflex.shapes import Tensor


class Flex(MeshMethod[FlexConfig, "LabelledMesh"]):
    """A mesh whose vertices a network moves, and the canonical map that it carries. Its plan is the mesh."""

    name = "flex"
    reads_tilt_series = True
    summary = "Learn the motion with 3DFlex and reconstruct corrected half-maps at full resolution."
    config = FlexConfig
    wording = Wording(
        title="3DFlex",
        carrier="mesh",
        points="densest voxels",
        model="canonical map",
        heading="Mesh and canonical map",
        geometry="rigidity, squared strain",
        shaded="in the shaded epochs the canonical map stood still; later, epochs of the map, which have a band limit "
        "but no loss, take turns with epochs of the flow and the latents.",
        soften="a smaller --rigidity",
        shown=("mesh.npz",),
    )

    def examine(self, inputs: Inputs, config: FlexConfig) -> LabelledMesh:
        """The mesh; refuse one, a stationary region or latents that do not fit.

        Raises:
            InputError: they do not.
        """
        from dynaflex.methods.flex.carrier import make_carrier
        from dynaflex.methods.flex.start import given_latents

        labelled = make_carrier(inputs, config)
        if "latents" in inputs.paths.own:
            given_latents(inputs, config)
        return labelled

    def prepare(self, work: Work[FlexConfig, LabelledMesh]) -> list[str]:
        """Store the mesh in the run, and say that the halves share it."""
        from dynaflex.methods.meshed.model import store_mesh

        store_mesh(work.run, work.plan)
        source = "the mesh" if "mesh" in work.inputs.paths.own else "the mesh, made around the mask"
        return [f"{source}, and the stiffness of its cells"]

    def trainer(self, work: Work[FlexConfig, LabelledMesh], data: HalfSet, training: Tensor) -> FlexTrainer:
        """The untrained model of one half with all that its training needs."""
        from dynaflex.methods.flex.build import build_model
        from dynaflex.methods.flex.start import initial_latents
        from dynaflex.methods.flex.train import FlexTrainer

        model = build_model(work.inputs, work.plan, data.half, len(data), work.config)
        start = initial_latents(work.inputs, data, work.config)
        return FlexTrainer(model.to(work.device), data, training, work.config, start)

    def empty_model(self, state: Mapping[str, Tensor], particles: int, grid: Grid, config: FlexConfig) -> FlexModel:
        """A model on the mesh of a checkpoint."""
        from dynaflex.methods.flex.build import empty_model

        return empty_model(state, particles, grid, config)


FLEX = Flex()
