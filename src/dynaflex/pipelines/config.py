"""The settings that every method has."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from dynaflex.latents.prior import GAUSSIAN, LatentPrior


class RunConfig(BaseModel):
    """Settings that decide the result; paths and devices are not among them. Lengths in Å."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0)
    class_number: int | None = Field(
        default=None, ge=0, description="use only particles of this class of a 3D classification; None: all"
    )
    train_box: int | None = Field(default=None, ge=8, description="Fourier-cropped training box; None: at most 128")
    particle_diameter: float | None = Field(
        default=None, gt=0.0, description="diameter of the circular mask; None: from the map"
    )
    shared_resolution: float = Field(
        default=20.0, gt=0.0, description="R0: both halves start from a map low-passed to this"
    )
    threshold: float | None = Field(default=None, description="map contour of the molecule; None: automatic")
    invert_contrast: bool = False
    latent_dim: int = Field(default=2, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=16, ge=1)
    held_out_fraction: float = Field(default=0.1, ge=0.0, lt=1.0)
    half_sets: Literal["independent", "shared"] = Field(
        default="independent", description="one model per half, or one for all particles, as in the paper of 3DFlex"
    )
    solver: Literal["iterative", "wiener", "lbfgs", "backprojection"] = "iterative"

    @property
    def latent_prior(self) -> LatentPrior:
        """What is known of a latent vector before its image is looked at."""
        return GAUSSIAN

    @property
    def trained_halves(self) -> tuple[int, ...]:
        """The half-sets that have a model of their own; 0 stands for all particles together."""
        return (1, 2) if self.half_sets == "independent" else (0,)

    @classmethod
    def from_stored(cls, stored: dict[str, Any]) -> Self:
        """The settings in a run's ``config.json``, which names the method as well."""
        return cls(**{key: value for key, value in stored.items() if key != "method"})
