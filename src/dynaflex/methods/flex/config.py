"""Every setting of a 3DFlex run, with its default and the reason for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from dynaflex.config import MAP, MOTION, SCHEDULE, TRAINING, InputFile, MapConfig, Option, Private

if TYPE_CHECKING:
    from dynaflex.latents.prior import LatentPrior

_RATE = Private("a rate that suits the units of what it moves, for any data")


class FlexConfig(MapConfig):
    """What 3DFlex adds to the settings that every method has, and where its defaults differ."""

    files: ClassVar[Mapping[str, InputFile]] = {
        "mesh": InputFile("mesh", "Mesh of `dynaflex mesh`; default a regular one."),
        "stationary": InputFile("stationary", "Mask of what must not move at all, such as a micelle."),
        "latents": InputFile(
            "latents", "Start from these: latents.npz, .npy, cryoSPARC .cs or cryoDRGN z.pkl.", "initial-latents"
        ),
    }

    smallest_weight: Annotated[float, Private("`dynaflex mesh --minimum-weight` gives a mesh that has another")] = (
        Field(default=0.5, gt=0.0, le=1.0, description="rigidity of empty cells; densest: 1")
    )
    stiffen: Annotated[bool, Option(MAP)] = Field(
        default=False, description="Make low density stiffer, for small or noisy particles."
    )

    cut: Annotated[Literal["off", "auto"], Option(MAP)] = Field(
        default="auto", description="auto: cut the mesh between bodies that slide, if held-out images gain."
    )

    latent_dim: Annotated[int, Option(MOTION, "N")] = Field(
        default=2, ge=1, description="Latent coordinates at most: what held-out images do not need is given up."
    )
    start: Annotated[Literal["subspace", "zero"], Option(MOTION)] = Field(
        default="subspace", description="Where the latents begin: linear components of the images, or all at rest."
    )
    prior: Annotated[Literal["gaussian", "wall"], Option(MOTION)] = Field(
        default="gaussian", description="On latents: the unit normal, or a wall that is flat inside ±1."
    )
    inference: Annotated[Literal["newton", "descent"], Option(MOTION)] = Field(
        default="newton", description="How latents are found: Gauss-Newton, or coordinate descent."
    )
    rigidity: Annotated[float | None, Option(MOTION, "LAMBDA")] = Field(
        default=None,
        ge=0.0,
        description="Stiffness, nats per nm³ and unit of squared strain; default by held-out images, from 0.55.",
    )
    layers: Annotated[int, Option(MOTION, "N")] = Field(default=4, ge=2, description="Layers of the flow generator.")
    width: Annotated[int, Option(MOTION, "N")] = Field(default=32, ge=1, description="Units per hidden layer.")

    epochs: Annotated[int | None, Option(TRAINING, "N")] = Field(
        default=None,
        ge=1,
        description="Sweeps over the data; default enough for 1500 updates, 16 to 60 or, of few particles, to 180, and "
        "more while it surely gains.",
    )
    batch_size: Annotated[int, Option(TRAINING, "N")] = Field(
        default=32, ge=1, description="Particles per update of the flow."
    )
    steps: Annotated[int, SCHEDULE] = Field(
        default=1500, description="updates of the flow of one half that `epochs=None` aims at"
    )
    fewest_steps: Annotated[int, SCHEDULE] = Field(
        default=900, description="updates without which more than 60 epochs are planned, of few particles"
    )
    flow_rate: Annotated[float, _RATE] = 2e-3
    last_flow_rate: Annotated[float, _RATE] = 4e-4

    @property
    def latent_prior(self) -> LatentPrior:
        """The unit normal distribution of the paper, or the product's wall."""
        from dynaflex.latents.prior import GAUSSIAN, QUARTIC_WALL

        return {"gaussian": GAUSSIAN, "wall": QUARTIC_WALL}[self.prior]

    def planned_epochs(self, batches: int) -> int:
        """Epochs of a half-set whose epoch of the flow has ``batches`` updates; every other epoch is the map's."""
        if self.epochs is not None:
            return self.epochs
        enough, fewest = (self._epochs_for(updates, batches) for updates in (self.steps, self.fewest_steps))
        return max(16, min(enough, max(60, min(fewest, 180))))

    def _epochs_for(self, updates: int, batches: int) -> int:
        flow = -(-updates // max(batches, 1))
        return self.fixed_map_epochs + 2 * max(flow - self.fixed_map_epochs, 0)

    def most_epochs(self, batches: int) -> int:
        """As many as there are if the particles held out gain all the time."""
        from dynaflex.methods.flex.how_long import MOST, stretch

        planned = self.planned_epochs(batches)
        return planned + MOST * stretch(planned) if self.epochs is None else planned
