"""How fast every part of a model learns."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dynaflex.imaging.pose_refinement import PoseRefinement
from dynaflex.latents.table import LatentTable
from dynaflex.methods.dynamight.config import DynamightConfig
from dynaflex.model import FlexModel

_LAST_PART = 3.0
_LOWEST = 0.1


def fall(optimisers: Mapping[str, torch.optim.Optimizer], left: float, caution: float) -> None:
    """Set the rates, times ``caution``, with the part of the epochs that is ``left``: in the last third they fall
    linearly to a tenth."""
    for optimiser in optimisers.values():
        for group in optimiser.param_groups:
            group["lr"] = group["full_rate"] * max(_LOWEST, min(1.0, _LAST_PART * left)) * caution


def optimisers_of(
    model: FlexModel, poses: PoseRefinement | None, config: DynamightConfig
) -> dict[str, torch.optim.Optimizer]:
    """Adam for the Gaussians, the decoder and the latents; sparse for tables, whose other rows must not drift."""
    density = model.density
    gaussians = [
        {"params": [density.positions], "full_rate": config.position_rate},
        {"params": [density.log_amplitude, density.log_width, density.logits], "full_rate": config.shape_rate},
    ]
    latents: torch.optim.Optimizer
    if isinstance(model.latents, LatentTable):
        latents = torch.optim.SparseAdam(
            [{"params": list(model.latents.parameters()), "full_rate": config.latent_rate}]
        )
    else:
        latents = torch.optim.Adam([{"params": list(model.latents.parameters()), "full_rate": config.decoder_rate}])
    corrections: dict[str, torch.optim.Optimizer] = {}
    if poses is not None:
        corrections["poses"] = torch.optim.SparseAdam(
            [{"params": list(poses.parameters()), "full_rate": config.pose_rate}]
        )
    return corrections | {
        "gaussians": torch.optim.Adam(gaussians),
        "decoder": torch.optim.Adam(
            [{"params": list(model.deformation.parameters()), "full_rate": config.decoder_rate}]
        ),
        "latents": latents,
    }
