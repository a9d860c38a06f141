"""DynaMight, as the pipeline that runs every method sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dynaflex import tell
from dynaflex.density.coarse_grain import CoarseModel, coarse_grain, to_box_frame
from dynaflex.density.placement import histogram
from dynaflex.errors import InputError
from dynaflex.io.atoms import read_atoms
from dynaflex.pipelines import checkpoint
from dynaflex.pipelines.config import RunConfig
from dynaflex.pipelines.dynamight.build import (
    Consensus,
    build_model,
    empty_model,
    prepare_consensus,
    rebase,
    settings_of,
)
from dynaflex.pipelines.dynamight.config import DynamightConfig
from dynaflex.pipelines.dynamight.model_frame import require_on_map
from dynaflex.pipelines.dynamight.train import HalfTrainer
from dynaflex.pipelines.half import HalfSet
from dynaflex.pipelines.inputs import Inputs
from dynaflex.pipelines.linear_start import linear_start
from dynaflex.pipelines.method import Method, Work
from dynaflex.shapes import Tensor

MODEL_BIAS = (
    "The Gaussians and their bonds come from an atomic model. The paper shows that the corrected map can then "
    "reproduce features of a wrong model; do not take agreement with this model as evidence for it."
)

_LINEAR_COORDINATES = 2
"""Components of the images that latents start from; of weaker ones there is more noise than motion."""


@dataclass(frozen=True)
class Plan:
    """What each half starts from, and the user's atomic model in the frame of the box, if there is one."""

    starts: dict[int, Consensus]
    atoms: CoarseModel | None


def examine(inputs: Inputs, config: RunConfig) -> Plan:
    """The plan; refuse an atomic model or a contour that leaves nothing to place.

    Raises:
        InputError: they do.
    """
    atoms = atomic_model(inputs)
    halves = sorted({1, *config.trained_halves})
    return Plan({half: prepare_consensus(inputs, half, settings_of(config)) for half in halves}, atoms)


def prepare(work: Work) -> list[str]:
    """Draw the automatic threshold, warn of model bias, and say what the halves share."""
    run, plan = work.run, plan_of(work)
    if plan.atoms is not None:
        run.warn(MODEL_BIAS)
    start = plan.starts[1]
    counts, edges = histogram(start.volume)
    run.write_json(
        "threshold.json",
        {
            "threshold": start.threshold,
            "histogram_edges": edges,
            "histogram_counts": counts,
            "automatic": settings_of(work.config).threshold is None,
            "gaussians": start.count,
        },
    )
    tell.say(f"{start.count} Gaussians above {start.threshold:.3g}")
    shared = ["which voxels lie within 6 Å of a Gaussian of half 1, to bring half 2 to the same conformation"]
    return shared if plan.atoms is None else [*shared, "the atomic model"]


def trainer(work: Work, data: HalfSet, training: Tensor) -> HalfTrainer:
    """The untrained model of one half with all that its training needs."""
    config, plan = settings_of(work.config), plan_of(work)
    model = build_model(plan.starts[data.half], len(data), data.half, work.inputs.imaging.grid, config, plan.atoms)
    mask_points = None
    if data.half == 2:
        mask_points = checkpoint.model_state(work.run.require_checkpoint("half1")[0])["density.positions"]
    return HalfTrainer(
        model.to(work.device),
        data,
        training,
        config,
        bonds=None if plan.atoms is None else plan.atoms.edges.to(work.device),
        mask_points=mask_points,
        start=partial(linear_start, work.inputs, data, config, min(config.latent_dim, _LINEAR_COORDINATES))
        if config.start == "subspace"
        else None,
    )


def plan_of(work: Work) -> Plan:
    """What :func:`examine` made."""
    assert isinstance(work.plan, Plan)
    return work.plan


def atomic_model(inputs: Inputs) -> CoarseModel | None:
    """The user's atomic model as pseudo-atoms in the frame of the box; None where there is none.

    Raises:
        InputError: it cannot be read, or nothing in it is bonded.
    """
    path: Path | None = inputs.paths.atoms
    if path is None:
        return None
    model = coarse_grain(read_atoms(path))
    if len(model.edges) == 0:
        raise InputError(
            "atoms.no-bonds",
            "no two pseudo-atoms of this model are bonded",
            file=path,
            expected="a chain of residues",
            fix="give a model with its side chains or main chain, or leave out --model",
        )
    grid = inputs.full_imaging.grid
    points = to_box_frame(model.points, grid.box, grid.pixel_size, inputs.place.corner(grid.pixel_size))
    require_on_map(path, points, inputs.mask, grid)
    return replace(model, points=points)


DYNAMIGHT = Method("dynamight", DynamightConfig, examine, prepare, trainer, empty_model, rebase)
