"""The settings that every method has. Each is declared once: what it means, its default, and how a person gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dynaflex.errors import UsageError

if TYPE_CHECKING:
    from dynaflex.latents.prior import LatentPrior

Solver = Literal["iterative", "wiener", "lbfgs", "backprojection"]
Stage = Literal["prepare", "train", "reconstruct", "report"]

GROUPS = PARTICLES, MAP, MOTION, TRAINING, RESULT = ("Particles", "Map and model", "Motion", "Training", "Result")
"""The settings in groups, as a person sees them."""


@dataclass(frozen=True)
class Option:
    """A setting that a person gives: in which ``group`` of the help, in what ``unit``, by which ``name`` where that is
    not the field's own. The field's description is its help."""

    group: str
    unit: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Private:
    """A setting that no person is asked for, and the reason."""

    reason: str


SCHEDULE = Private("the schedule is one piece: its parts were chosen together, for any data")


@dataclass(frozen=True)
class InputFile:
    """A file that one method alone takes: its ``name`` among the inputs of a run, its help, what its option was called
    ``before``, which is still understood, and whether there is no run without it."""

    name: str
    help: str
    before: str | None = None
    needed: bool = False


class RunConfig(BaseModel):
    """Settings that decide the result; paths and devices are not among them. Lengths in Å."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: ClassVar[Mapping[str, InputFile]] = {}
    """The inputs that this method alone takes, by what a person calls each."""

    class_number: Annotated[int | None, Option(PARTICLES, "N", "class")] = Field(
        default=None, ge=0, description="Take only this class of a 3D classification; default all."
    )
    invert_contrast: Annotated[bool, Option(PARTICLES)] = Field(
        default=False, description="For particles that are black."
    )
    particle_diameter: Annotated[float | None, Option(PARTICLES, "Å", "diameter")] = Field(
        default=None, gt=0.0, description="Particle diameter; default from the mask, or the map."
    )
    train_box: Annotated[int | None, Option(PARTICLES, "PIXELS")] = Field(
        default=None, ge=8, description="Fourier-cropped training box; default at most 128."
    )

    threshold: Annotated[float | None, Option(MAP, "DENSITY")] = Field(
        default=None, description="Map contour of the molecule; default automatic."
    )
    shared_resolution: Annotated[float, Option(MAP, "Å")] = Field(
        default=20.0, gt=0.0, description="R0: both halves start from a map low-passed to this."
    )
    symmetry: Annotated[str, Option(MAP, "GROUP")] = Field(
        default="C1", description="Point group, RELION's axes: a unit moves, and every particle shows all of them."
    )

    latent_dim: Annotated[int, Option(MOTION, "N")] = Field(default=2, ge=1, description="Latent coordinates.")

    half_sets: Annotated[Literal["independent", "shared"], Option(TRAINING)] = Field(
        default="independent", description="A motion model for each half, or one for all particles, as in the paper."
    )
    epochs: Annotated[int | None, Option(TRAINING, "N")] = Field(
        default=None, ge=1, description="Sweeps over the data; default enough to converge."
    )
    batch_size: Annotated[int, Option(TRAINING, "N")] = Field(default=16, ge=1, description="Particles per update.")
    held_out_fraction: Annotated[float, Option(TRAINING, "FRACTION")] = Field(
        default=0.1, ge=0.0, lt=1.0, description="Particles of each half that are not trained on, to test the motion."
    )
    seed: Annotated[int, Option(TRAINING, "N")] = Field(
        default=0, ge=0, description="Equal seeds give equal runs on the CPU."
    )

    solver: Annotated[Solver, Option(RESULT)] = Field(
        default="iterative",
        description="Of the maps: least squares, also with a prior; that of 3DFlex's paper; that of DynaMight's.",
    )

    @classmethod
    def options(cls) -> dict[str, Option]:
        """How a person gives each setting, by field, group by group; private settings are left out."""
        found = [(name, one) for name, field in cls.model_fields.items() for one in field.metadata]
        given = [(name, one) for name, one in found if isinstance(one, Option)]
        return dict(sorted(given, key=lambda item: GROUPS.index(item[1].group)))

    @classmethod
    def option_name(cls, field: str) -> str:
        """What a person types for a setting: ``--diameter`` for ``particle_diameter``."""
        option = cls.options().get(field)
        return "--" + (option.name if option and option.name else field.replace("_", "-"))

    @classmethod
    def key_of(cls, field: str) -> str:
        """The name of a setting in a file of settings: its option without the dashes before it."""
        return cls.option_name(field).removeprefix("--")

    @classmethod
    def field_of(cls, key: str) -> str:
        """Undo :meth:`key_of`; underscores may stand for dashes.

        Raises:
            UsageError: there is no such setting.
        """
        fields = {cls.key_of(name): name for name in cls.options()}
        name = key.replace("_", "-")
        if name not in fields:
            raise UsageError(
                "config.unknown-key", f"there is no setting {key!r}",
                expected=" or ".join(get_close_matches(name, fields, n=2)) or None,
                fix="--print-config lists all settings",
            )  # fmt: skip
        return fields[name]

    @property
    def latent_prior(self) -> LatentPrior:
        """What is known of a latent vector before its image is looked at."""
        from dynaflex.latents.prior import GAUSSIAN

        return GAUSSIAN

    def planned_epochs(self, batches: int) -> int:
        """Epochs of a half-set whose epoch has so many ``batches``. A method that leaves ``epochs`` open says it."""
        assert self.epochs is not None
        return self.epochs

    def most_epochs(self, batches: int) -> int:
        """Epochs that such a training may go on to: those planned, where it ends with them."""
        return self.planned_epochs(batches)

    @property
    def trained_halves(self) -> tuple[int, ...]:
        """The half-sets that have a model of their own; 0 stands for all particles together."""
        return (1, 2) if self.half_sets == "independent" else (0,)


class MapConfig(RunConfig):
    """Settings of methods that learn the motion of a map on a mesh, and solve for the map, in turn."""

    cells: Annotated[int | None, Option(MAP, "N")] = Field(
        default=None,
        ge=2,
        description="Cubes of the mesh along a side of the box; default cubes of 10 Å, or of two training pixels.",
    )
    fixed_map_epochs: Annotated[int, SCHEDULE] = Field(
        default=5, ge=0, description="first epochs, in which the map stays as it is given"
    )
    finest_band: Annotated[float, SCHEDULE] = Field(
        default=0.8, gt=0.0, le=1.0, description="of the training Nyquist, reached at the end"
    )
    map_iterations: Annotated[int, SCHEDULE] = Field(
        default=3, ge=1, description="conjugate gradients in an epoch of the map"
    )


_Config = TypeVar("_Config", bound=RunConfig)


def configuration(config: type[_Config], values: Mapping[str, Any], word: Callable[[str], str]) -> _Config:
    """The settings with these ``values`` by field, if they can mean anything; ``word`` is what a person calls a field.

    Raises:
        UsageError: a value is out of its range.
    """
    try:
        return config(**values)
    except ValidationError as error:
        name, found, expected = fault_of(error)
        raise UsageError("usage.range", f"{word(name)} cannot be {found!r}", expected=expected) from error


def fault_of(error: ValidationError) -> tuple[str, Any, str]:
    """Field, value and what was expected of the first error."""
    first = error.errors()[0]
    return str(first["loc"][0]), first["input"], first["msg"].removeprefix("Input should be ")
