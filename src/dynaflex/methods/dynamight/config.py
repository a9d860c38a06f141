"""Every setting of a DynaMight run, with its default and the reason for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dynaflex.config import MAP, MOTION, SCHEDULE, TRAINING, InputFile, Option, Private, RunConfig

_RATE = Private("a rate that suits the units of what it moves, for any data")
_DECODER = Private("how fine a motion can be follows from both: the shortest wave, and the nodes that resolve it")
_DENSE = 12.0
PAPERS_RATIO = 0.9
"""Of the norms of the gradients, prior over data."""


class DynamightConfig(RunConfig):
    """What DynaMight adds to the settings that every method has, and where its defaults differ."""

    files: ClassVar[Mapping[str, InputFile]] = {
        "model": InputFile("atoms", "Atomic model (PDB, mmCIF) for Gaussians and bonds. Warns of model bias."),
    }

    threshold: Annotated[float | None, Option(MAP, "DENSITY")] = Field(
        default=None, description="Map contour to fill with Gaussians; default automatic."
    )
    n_gaussians: Annotated[int | None, Option(MAP, "N", "gaussians")] = Field(
        default=None,
        ge=4,
        description="Number of Gaussians; default two per residue inside the contour, or one per training voxel.",
    )
    n_classes: Annotated[int, Option(MAP, "N", "classes")] = Field(
        default=1, ge=1, description="Classes of Gaussian, each with a width."
    )

    latents: Annotated[Literal["table", "encoder"], Option(MOTION)] = Field(
        default="table", description="One posterior per particle, or a network that sees the image."
    )
    latent_dim: Annotated[int, Option(MOTION, "N")] = Field(default=6, ge=1, description="Latent coordinates.")
    start: Annotated[Literal["subspace", "random"], Option(MOTION)] = Field(
        default="subspace", description="Where the latents of a table begin: linear components of the images, or noise."
    )
    layers: Annotated[int, Option(MOTION, "N")] = Field(default=8, ge=2, description="Layers of the decoder.")
    width: Annotated[int, Option(MOTION, "N")] = Field(default=32, ge=1, description="Units per hidden layer.")
    frequencies: Annotated[int, _DECODER] = 10
    node_spacing: Annotated[float, _DECODER] = Field(
        default=12.0, gt=0.0, description="Å between the nodes where the decoder is evaluated; its finest wave has 24"
    )
    graph: Annotated[Literal["dense", "paper"], Option(MOTION)] = Field(
        default="dense", description="Of neighbours that stay together: 12 on average, or the cutoff of eq. 12."
    )
    regularisation: Annotated[float | None, Option(MOTION, "RATIO")] = Field(
        default=None,
        ge=0.0,
        description="How stiff: the ratio of gradient norms, prior over data, and in proportion where it is capped; "
        "default by held-out images, from 0.9.",
    )

    half_sets: Annotated[Literal["independent"], Option(TRAINING)] = Field(
        default="independent", description="What this method does."
    )
    epochs: Annotated[int | None, Option(TRAINING, "N")] = Field(
        default=None, ge=1, description="Sweeps over the data; default enough for 6000 updates, from 20 to 100."
    )
    steps: Annotated[int, SCHEDULE] = Field(default=6000, description="updates of one half that `epochs=None` aims at")
    warm_up_epochs: Annotated[int, SCHEDULE] = Field(default=3, description="of a training of 100 epochs, as below")
    refresh_every: Annotated[int, SCHEDULE] = Field(
        default=30, description="after so many of 100 epochs, some with the Gaussians alone"
    )
    refresh_epochs: Annotated[int, SCHEDULE] = 5
    replace_every: Annotated[int, SCHEDULE] = Field(
        default=10, description="of 100 epochs, between replacements of the reference positions"
    )
    pooled_particles: Annotated[int, SCHEDULE] = 100
    patience: Annotated[int, SCHEDULE] = Field(
        default=40, description="stop when the loss has risen this many times in 100 epochs"
    )
    decoder_rate: Annotated[float, _RATE] = 2e-3
    latent_rate: Annotated[float, _RATE] = 0.05
    position_rate: Annotated[float, _RATE] = Field(default=0.02, description="Å per update")
    shape_rate: Annotated[float, _RATE] = 1e-3
    pose_rate: Annotated[float, _RATE] = Field(
        default=0.02, description="standard deviations of the pose prior per update"
    )
    refine_poses: Annotated[bool, Option(TRAINING)] = Field(
        default=False, description="Let poses move under a prior; the drift is reported."
    )

    @property
    def graph_degree(self) -> float | None:
        """Mean neighbours of a Gaussian in the graph; None for the paper's cutoff."""
        return _DENSE if self.graph == "dense" else None

    @property
    def ratio(self) -> float:
        """The ratio of gradient norms that the geometry is weighed by to begin with."""
        return PAPERS_RATIO if self.regularisation is None else self.regularisation

    def planned_epochs(self, batches: int) -> int:
        """Epochs of a half-set whose epoch has ``batches`` updates."""
        if self.epochs is not None:
            return self.epochs
        return max(20, min(100, -(-self.steps // max(batches, 1))))
