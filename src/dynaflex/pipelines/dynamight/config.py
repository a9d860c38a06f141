"""Every setting of a DynaMight run, with its default and the reason for it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dynaflex.pipelines.config import RunConfig


class DynamightConfig(RunConfig):
    """What DynaMight adds to the settings that every method has, and where its defaults differ."""

    threshold: float | None = Field(
        default=None, description="map contour that is filled with Gaussians; None: automatic"
    )
    n_gaussians: int | None = Field(
        default=None, ge=4, description="None: two per residue that fits into the contour; 4 have neighbours"
    )
    n_classes: int = Field(default=1, ge=1)

    latents: Literal["encoder", "table"] = "table"
    latent_dim: int = Field(default=6, ge=1)
    layers: int = 8
    width: int = 32
    frequencies: int = 10
    node_spacing: float = Field(
        default=12.0, gt=0.0, description="Å between the nodes where the decoder is evaluated; its finest wave has 24"
    )
    start: Literal["subspace", "random"] = Field(
        default="subspace", description="where the latents of a table begin: linear components of the images"
    )

    epochs: int | None = Field(
        default=None, ge=1, description="None: enough for `steps` updates, between 20 and 100 epochs"
    )
    steps: int = Field(default=6000, description="updates of one half that `epochs=None` aims at")
    warm_up_epochs: int = 3
    regularisation: float = Field(default=0.9, ge=0.0, description="ratio of gradient norms, prior over data")
    strongest_prior: float = Field(default=100.0, description="largest lambda, nats per Å² of mean squared edge strain")
    graph_degree: float | None = Field(default=12.0, description="mean neighbours; None: the paper's cutoff")
    refresh_every: int = Field(default=30, description="after so many epochs, some with the Gaussians alone")
    refresh_epochs: int = 5
    replace_every: int = Field(default=10, description="epochs between replacements of the reference positions")
    pooled_particles: int = 100
    patience: int = Field(default=40, description="stop when the loss has risen this many times")
    decoder_rate: float = 2e-3
    latent_rate: float = 0.05
    position_rate: float = Field(default=0.02, description="Å per update")
    shape_rate: float = 1e-3
    refine_poses: bool = False
    pose_rate: float = Field(default=0.02, description="standard deviations of the pose prior per update")

    def planned_epochs(self, batches: int) -> int:
        """Epochs of a half-set whose epoch has ``batches`` updates."""
        if self.epochs is not None:
            return self.epochs
        return max(20, min(100, -(-self.steps // max(batches, 1))))
