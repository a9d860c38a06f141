"""What a user should do about a run that learned nothing, or less than it shows, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from dynaflex.report.facts.files import Arrays, Record
from dynaflex.report.facts.supported import on_support
from dynaflex.shapes import Array
from dynaflex.training.method import Wording

COLLAPSED = 0.1
"""Spread of the latents along their widest axis, in units of the prior's, below which they say nothing."""
AT_THE_WALL, MANY = 1.4, 0.05


def advice(words: Wording, config: Record, latents: Arrays | None, support: Record | None) -> list[str]:
    """Sentences on latents that collapsed or pile up at the wall, and on motion that held-out images do not support."""
    means = {} if latents is None else _means(latents)
    return [
        *_on_collapse(words, means),
        *(_on_the_wall(means) if config.get("prior") == "wall" else ()),
        *on_support(support),
    ]


def held_out_gain(line: Mapping[str, object]) -> float | None:
    """How much likelier held-out images are with latents that were fitted to them than at rest, nats per particle; None
    where not known. Noise alone brings half a nat for each coordinate."""
    gain, flexible, rigid = (line.get(key) for key in ("held_out_gain", "held_out_loss", "held_out_rigid_loss"))
    if isinstance(gain, int | float):
        return float(gain)
    return rigid - flexible if isinstance(flexible, int | float) and isinstance(rigid, int | float) else None


def _on_collapse(words: Wording, means: dict[int, Array]) -> Iterator[str]:
    for half, mean in means.items():
        widest = float(np.linalg.norm(mean - mean.mean(axis=0), ord=2)) / len(mean) ** 0.5
        if widest < COLLAPSED:
            yield (
                f"The latents of half {half} have collapsed: they spread by {widest:.2f} where the prior allows 1. "
                f"Either nothing moves, or the model was held too stiff: try {words.soften}, and more epochs."
            )


def _on_the_wall(means: dict[int, Array]) -> Iterator[str]:
    for half, mean in means.items():
        share = float((np.abs(mean) > AT_THE_WALL).any(axis=1).mean())
        if share > MANY:
            yield (
                f"{share:.0%} of the latents of half {half} lie at the wall of the prior, beyond {AT_THE_WALL:g}: "
                "conformations pile up there that the model would like to tell apart. Try --prior gaussian or a higher "
                "--latent-dim, and look for particles that do not belong."
            )


def _means(latents: Arrays) -> dict[int, Array]:
    """The latents ``(p k)`` of each half that has some."""
    mean, half = np.asarray(latents["mean"], np.float64), np.asarray(latents["half"])
    parts = {int(number): mean[half == number] for number in np.unique(half)}
    finite = {number: part[np.isfinite(part).all(axis=1)] for number, part in parts.items()}
    return {number: part for number, part in finite.items() if len(part) > 2}
