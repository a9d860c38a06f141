"""Every setting of a 3DFlex run, with its default and the reason for it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dynaflex.latents.prior import GAUSSIAN, QUARTIC_WALL, LatentPrior
from dynaflex.pipelines.config import RunConfig


class FlexConfig(RunConfig):
    """What 3DFlex adds to the settings that every method has, and where its defaults differ."""

    cells: int = Field(default=20, ge=2, description="cubes of the mesh along a side of the box, five tetrahedra each")
    smallest_weight: float = Field(default=0.5, gt=0.0, le=1.0, description="rigidity of empty cells; densest: 1")
    stiffen: bool = Field(default=False, description="make cells of low density stiffer than the densest")
    rigidity: float = Field(default=0.7, ge=0.0, description="lambda, nats per unit of squared strain; paper: 2")

    latent_dim: int = Field(default=2, ge=1)
    layers: int = Field(default=6, ge=1)
    width: int = Field(default=64, ge=1)
    prior: Literal["gaussian", "wall"] = "gaussian"
    inference: Literal["newton", "descent"] = "newton"
    start: Literal["zero", "subspace"] = "subspace"
    latent_noise: float = Field(default=0.15, ge=0.0, description="standard deviation of the noise added to latents")

    epochs: int | None = Field(
        default=None, ge=1, description="None: enough for `steps` updates of the flow, between 16 and 60 epochs"
    )
    steps: int = Field(default=1500, description="updates of the flow of one half that `epochs=None` aims at")
    batch_size: int = Field(default=32, ge=1, description="particles per update, accumulated over micro-batches")
    fixed_map_epochs: int = Field(default=5, ge=0, description="first epochs, in which the map stays as it is given")
    flow_rate: float = 5e-3
    last_flow_rate: float = 5e-4
    finest_band: float = Field(default=0.8, gt=0.0, le=1.0, description="of the training Nyquist, reached at the end")
    map_iterations: int = Field(default=3, ge=1, description="conjugate gradients in an epoch of the map")

    @property
    def latent_prior(self) -> LatentPrior:
        """The unit normal distribution of the paper, or the product's wall."""
        return {"gaussian": GAUSSIAN, "wall": QUARTIC_WALL}[self.prior]

    def planned_epochs(self, batches: int) -> int:
        """Epochs of a half-set whose epoch of the flow has ``batches`` updates; every other epoch is the map's."""
        if self.epochs is not None:
            return self.epochs
        flow = -(-self.steps // max(batches, 1))
        return max(16, min(60, self.fixed_map_epochs + 2 * max(flow - self.fixed_map_epochs, 0)))
