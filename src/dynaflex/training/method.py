"""What a method is to the pipeline that runs it, and what it says of itself to people."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from dynaflex.config import RunConfig

if TYPE_CHECKING:
    # Help must not wait for torch: a method is loaded with the command line, its mathematics when it is asked.
    import torch

    from dynaflex.grid import Grid
    from dynaflex.imaging.pose_refinement import PoseRefinement
    from dynaflex.model import FlexModel
    from dynaflex.prepare.half import HalfSet
    from dynaflex.prepare.inputs import Inputs
    from dynaflex.reconstruct.field import Field, Region
    from dynaflex.run.directory import Run
    from dynaflex.shapes import Tensor
    from dynaflex.training.contrast import Contrasts
    from dynaflex.training.steps import Steps

Config = TypeVar("Config", bound=RunConfig)
Plan = TypeVar("Plan")
Report = Callable[[dict[str, Any]], None]
EveryBatch = Callable[[int, int], None]


@dataclass(frozen=True)
class Work(Generic[Config, Plan]):
    """A run and what it needs at hand; ``plan`` is what the method made of the inputs when it examined them."""

    run: Run
    inputs: Inputs
    config: Config
    plan: Plan
    device: torch.device


class Trainer(Protocol):
    """Trains the model of one half-set, one epoch at a time."""

    model: FlexModel
    data: HalfSet
    training: Tensor
    progress: Any
    optimisers: dict[str, torch.optim.Optimizer]
    poses: PoseRefinement | None
    steps: Steps
    contrasts: Contrasts

    @property
    def config(self) -> RunConfig:
        """The settings that decide the result."""

    trials: set[int]
    """The epochs, counted from 0, that begin with trials of how stiff the molecule is."""

    retaken: Mapping[str, int]
    """Epochs of each kind whose updates a trial of something else takes once more, if it comes to that."""

    def trial_length(self, batches: int) -> int:
        """How many updates a strength is tried by, in a training whose epoch has so many ``batches``."""

    def kind(self) -> str:
        """What the next epoch does: those of one kind take equally long."""

    @property
    def epochs(self) -> int:
        """How many there will be in all, as far as is known."""

    @property
    def finished(self) -> bool:
        """True after the last epoch."""

    def run_epoch(self, report: Report, every_batch: EveryBatch) -> None:
        """One sweep over the training particles, then the bookkeeping that the next one needs."""

    def expect(self, state: Mapping[str, Tensor]) -> None:
        """Make room for the ``state`` of a model that a checkpoint holds."""

    def restored(self) -> None:
        """Follow up on a state that was put back from a checkpoint."""


@dataclass(frozen=True)
class Wording:
    """How a method is called (``title``), and how it calls what carries the density (``carrier``), what it moves
    (``points``) and trains (``model``, with its ``heading`` in the report).

    ``geometry`` titles the term of the loss that holds the molecule together, ``shaded`` says what happened in the
    shaded epochs, and ``soften`` how a user weakens that term. ``shown`` are the files of a run, beside those that
    every run has, that the report draws the model from.
    """

    title: str
    carrier: str
    points: str
    model: str
    heading: str
    geometry: str
    shaded: str
    soften: str
    shown: tuple[str, ...] = ()


class Method(ABC, Generic[Config, Plan]):
    """The parts in which one method differs from another.

    It is found by the entry point ``name`` in the group ``dynaflex.methods``, and is then a command, whose help begins
    with the ``summary``, and a method of :func:`dynaflex.train`. Its settings are ``config``; its plan is what both
    halves are built from, made once. The module that it stands in imports torch where it is asked, and not before.
    A method ``reads_tilt_series`` if the images of one (:attr:`Batch.series`) share a conformation in it.
    """

    name: ClassVar[str]
    reads_tilt_series: ClassVar[bool] = False
    summary: ClassVar[str]
    wording: ClassVar[Wording]
    config: type[Config]

    @abstractmethod
    def examine(self, inputs: Inputs, config: Config) -> Plan:
        """Refuse what cannot work, before a run directory is made.

        Raises:
            InputError: a file of the method's own does not fit.
        """

    def settled(self, config: Config, plan: Plan) -> Config:
        """The settings with what the plan decides of them; all, where it decides nothing."""
        return config

    @abstractmethod
    def prepare(self, work: Work[Config, Plan]) -> list[str]:
        """Write down what is decided, and say what the halves share."""

    @abstractmethod
    def trainer(self, work: Work[Config, Plan], data: HalfSet, training: Tensor) -> Trainer:
        """The training of one half, before its first epoch."""

    @abstractmethod
    def empty_model(self, state: Mapping[str, Tensor], particles: int, grid: Grid, config: Config) -> FlexModel:
        """A model of the right shapes to load the ``state`` of a checkpoint into."""

    @abstractmethod
    def rebase(self, model: FlexModel, origin: Tensor) -> FlexModel:
        """The same model with the conformation ``origin`` ``(k)`` at rest: density, landmarks and deformation."""

    @abstractmethod
    def field(self, run: Run, model: FlexModel, latents: Tensor, region: Region) -> Field:
        """Where the voxels of a region go in the particles of a half with this ``model`` and ``latents`` ``(p k)``."""


AnyMethod = Method[Any, Any]
AnyWork = Work[Any, Any]
