"""Multi-body refinement: what the papers of DynaMight and 3DFlex both start from (Nakane et al., eLife 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from dynaflex.config import MAP, MOTION, SCHEDULE, TRAINING, InputFile, MapConfig, Option, Private
from dynaflex.methods.meshed.method import MeshMethod
from dynaflex.training.method import Wording, Work

if TYPE_CHECKING:
    from dynaflex.grid import Grid
    from dynaflex.methods.multibody.bodies import Bodies
    from dynaflex.methods.multibody.train import BodyTrainer
    from dynaflex.model import FlexModel
    from dynaflex.prepare.half import HalfSet
    from dynaflex.prepare.inputs import Inputs
    from dynaflex.shapes import Tensor


class MultibodyConfig(MapConfig):
    """What multi-body refinement adds to the settings that every method has, and where its defaults differ."""

    files: ClassVar[Mapping[str, InputFile]] = {
        "segments": InputFile(
            "segments",
            "Needed: the number of its body in every voxel, .mrc; or RELION's body STAR file, a mask for each.",
            needed=True,
        )
    }

    border: Annotated[float, Option(MAP, "Å")] = Field(
        default=10.0, gt=0.0, description="Width of the soft border in which one body passes into the next."
    )
    rotation: Annotated[float, Option(MOTION, "DEGREES")] = Field(
        default=10.0, gt=0.0, description="Standard deviation of a body's rotations, to begin with."
    )
    shift: Annotated[float, Option(MOTION, "Å")] = Field(
        default=2.0, gt=0.0, description="Standard deviation of a body's shifts along each axis, to begin with."
    )
    symmetry: Annotated[Literal["C1"], Private("bodies move as the segmentation says, symmetric or not")] = "C1"
    latent_dim: Annotated[int, Private("six for every body but the largest, which stays at rest")] = Field(
        default=6, ge=6
    )

    half_sets: Annotated[Literal["independent"], Option(TRAINING)] = Field(
        default="independent", description="What this method does."
    )
    epochs: Annotated[int, Option(TRAINING, "N")] = Field(default=41, ge=1, description="Sweeps over the data.")
    batch_size: Annotated[int, Option(TRAINING, "N")] = Field(default=64, ge=1, description="Particles at a time.")
    fixed_map_epochs: Annotated[int, SCHEDULE] = Field(
        default=1, ge=0, description="first epochs, in which the map stays as it is given"
    )


class Multibody(MeshMethod[MultibodyConfig, "Bodies"]):
    """Rigid bodies with soft borders, one rotation and shift for each in every particle."""

    name = "multibody"
    summary = "Refine rigid bodies with soft borders and reconstruct corrected half-maps."
    config = MultibodyConfig
    wording = Wording(
        title="multi-body refinement",
        carrier="mesh",
        points="densest voxels",
        model="map",
        heading="Bodies and map",
        geometry="no such term: bodies are rigid",
        shaded="epochs of the poses take turns with epochs of the map, which have a band limit but no loss.",
        soften="a larger --rotation and --shift",
        shown=("mesh.npz",),
    )

    def examine(self, inputs: Inputs, config: MultibodyConfig) -> Bodies:
        """The bodies; refuse a segmentation that does not fit, or has only one.

        Raises:
            InputError: it does not.
            UsageError: there is none.
        """
        from dynaflex.methods.multibody.bodies import read_bodies

        return read_bodies(inputs, config)

    def settled(self, config: MultibodyConfig, plan: Bodies) -> MultibodyConfig:
        """As many latents as the moving bodies need."""
        return config.model_copy(update={"latent_dim": 6 * len(plan.pivots)})

    def prepare(self, work: Work[MultibodyConfig, Bodies]) -> list[str]:
        """Store the mesh in the run, and say what the bodies are."""
        from dynaflex import tell
        from dynaflex.methods.meshed.model import store_mesh

        store_mesh(work.run, work.plan.labelled)
        tell.say(work.plan.described())
        return ["which voxels belong to which body"]

    def trainer(self, work: Work[MultibodyConfig, Bodies], data: HalfSet, training: Tensor) -> BodyTrainer:
        """The bodies of one half, all at rest."""
        from dynaflex.methods.multibody.train import BodyTrainer, build_model

        model = build_model(work.inputs, work.plan, data.half, len(data), work.config)
        return BodyTrainer(model.to(work.device), data, training, work.config)

    def empty_model(
        self, state: Mapping[str, Tensor], particles: int, grid: Grid, config: MultibodyConfig
    ) -> FlexModel:
        """A model with the bodies of a checkpoint."""
        from dynaflex.methods.multibody.train import empty_model

        return empty_model(state, particles, grid)


MULTIBODY = Multibody()
