"""DynaMight, as the pipeline that runs every method sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dynaflex.errors import UsageError
from dynaflex.methods.dynamight.config import DynamightConfig
from dynaflex.training.method import Method, Wording, Work

if TYPE_CHECKING:
    from dynaflex.grid import Grid
    from dynaflex.methods.dynamight.plan import Plan
    from dynaflex.methods.dynamight.train import HalfTrainer
    from dynaflex.model import FlexModel
    from dynaflex.prepare.half import HalfSet
    from dynaflex.prepare.inputs import Inputs
    from dynaflex.reconstruct.field import Field, Region
    from dynaflex.run.directory import Run
    from dynaflex.shapes import Tensor

MODEL_BIAS = (
    "The Gaussians and their bonds come from an atomic model. The paper shows that the corrected map can then "
    "reproduce features of a wrong model; do not take agreement with this model as evidence for it."
)

_THRESHOLD = "threshold.json"
_LINEAR_COORDINATES = 2
"""Components of the images that latents start from; of weaker ones there is more noise than motion."""


class Dynamight(Method[DynamightConfig, "Plan"]):
    """Gaussians that a network over latent and position moves."""

    name = "dynamight"
    reads_tilt_series = True
    summary = "Learn the motion with DynaMight and reconstruct corrected half-maps."
    config = DynamightConfig
    wording = Wording(
        title="DynaMight",
        carrier="Gaussians",
        points="Gaussians",
        model="Gaussian model",
        heading="Gaussian model",
        geometry="geometry",
        shaded="in the shaded epochs only the Gaussians were trained.",
        soften="a smaller --regularisation",
        shown=(_THRESHOLD,),
    )

    def examine(self, inputs: Inputs, config: DynamightConfig) -> Plan:
        """The plan; refuse an atomic model or a contour that leaves nothing to place, and poses of single tilts.

        Raises:
            InputError: they do.
            UsageError: poses are to be refined, image by image, and these are tilt series.
        """
        if config.refine_poses and inputs.particles.tilted is not None:
            raise UsageError(
                "tomography.poses", "the images of a tilt series do not tell their poses one by one",
                field="--refine-poses", fix="leave it out",
            )  # fmt: skip
        from dynaflex.methods.dynamight.plan import make_plan

        return make_plan(inputs, config)

    def prepare(self, work: Work[DynamightConfig, Plan]) -> list[str]:
        """Draw the automatic threshold, warn of model bias, and say what the halves share."""
        from dynaflex import tell
        from dynaflex.density.placement import histogram

        run, plan = work.run, work.plan
        if plan.atoms is not None:
            run.warn(MODEL_BIAS)
        start = plan.starts[1]
        counts, edges = histogram(start.volume)
        run.write_json(
            _THRESHOLD,
            {
                "threshold": start.threshold,
                "histogram_edges": edges,
                "histogram_counts": counts,
                "automatic": work.config.threshold is None,
                "gaussians": start.count,
            },
        )
        tell.say(f"{start.count} Gaussians above {start.threshold:.3g}")
        return [] if plan.atoms is None else ["the atomic model"]

    def trainer(self, work: Work[DynamightConfig, Plan], data: HalfSet, training: Tensor) -> HalfTrainer:
        """The untrained model of one half with all that its training needs."""
        from functools import partial

        from dynaflex.methods.dynamight.build import build_model
        from dynaflex.methods.dynamight.train import HalfTrainer
        from dynaflex.training.linear_start import linear_start

        config, plan = work.config, work.plan
        grid, unit = work.inputs.imaging.grid, work.inputs.unit
        model = build_model(plan.starts[data.half], len(data), data.half, grid, config, plan.atoms, unit)
        return HalfTrainer(
            model.to(work.device),
            data,
            training,
            config,
            matter=plan.starts[data.half].matter,
            bonds=None if plan.atoms is None else plan.atoms.edges.to(work.device),
            start=partial(linear_start, work.inputs, data, config, min(config.latent_dim, _LINEAR_COORDINATES))
            if config.start == "subspace"
            else None,
        )

    def empty_model(
        self, state: Mapping[str, Tensor], particles: int, grid: Grid, config: DynamightConfig
    ) -> FlexModel:
        """A model with the Gaussians of a checkpoint."""
        from dynaflex.methods.dynamight.build import empty_model

        return empty_model(state, particles, grid, config)

    def rebase(self, model: FlexModel, origin: Tensor) -> FlexModel:
        """The same model with the conformation ``origin`` ``(k)`` at rest: Gaussians and decoder."""
        from dynaflex.methods.dynamight.build import rebase

        return rebase(model, origin)

    def field(self, run: Run, model: FlexModel, latents: Tensor, region: Region) -> Field:
        """Voxels carried by a lattice of tetrahedra, whose vertices go where the decoder sends them."""
        from dynaflex.reconstruct.motion_field import motion_field

        return motion_field(region, model.deformation.at, latents, model.density.points())


DYNAMIGHT = Dynamight()
