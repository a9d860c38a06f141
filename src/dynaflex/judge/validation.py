"""The controls of a finished run: would the motion be found if it were not there?

Particles that no model has learned from are embedded from half of their Fourier shells, and judged by the other half:
what was fitted to their noise does not count. The model of half 1 sees the shells that judge the model of half 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from dynaflex import inference, tell
from dynaflex.data.columns import ParticleColumns
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.imaging.noise import noise_weights
from dynaflex.losses.data import data_loss
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.inputs import Inputs
from dynaflex.products.space import conformation_space, some_landmarks
from dynaflex.results.reopen import Moved, reopened
from dynaflex.results.trained import TrainedHalf, config_of, contrast_in, load_half
from dynaflex.run.directory import Run
from dynaflex.shapes import Array, Tensor
from dynaflex.validate.controls import (
    FAIL,
    PASS,
    WARN,
    Control,
    agreement,
    group_leak,
    leak,
    must_exceed_zero,
    must_vanish,
)

VALIDATION = "validation.json"
"""The file of a run with the verdicts on it."""

SHELLS_TOGETHER = 3
"""Neighbouring shells that go to one side: the edges of an image tie the noise of neighbours."""
_CANDIDATES, _AT_ONCE = 16, 32
_FEWEST = 20


@dataclass(frozen=True)
class Trial:
    """Particles seen by the model of one half: negative log-likelihoods ``(p)`` in nats, on shells that the latents
    were not found from, with their own latents, with those of others, with the motion reversed, and with none; and the
    displacements ``(p n 3)`` in Å of some landmarks with their own."""

    own: Array
    permuted: Array
    reversed: Array
    still: Array
    displacement: Array


def run_controls(run: Run, device: torch.device, most: int, moved: Moved) -> list[Control]:
    """All controls, on at most so many held-out particles; inputs that have ``moved`` are taken from there.

    Raises:
        UsageError: the run has not been trained to its end.
        InputError: its particles cannot be read any more, or too few are held out.
    """
    inputs = reopened(run, moved)
    held_out = np.flatnonzero(inputs.held_out)
    if len(held_out) < _FEWEST:
        raise InputError(
            "validate.too-few", "too few particles were held out to test the motion on",
            file=run.path, expected=f"at least {_FEWEST}", found=len(held_out),
            fix="use more particles, or hold out more of them",
        )  # fmt: skip
    chosen = np.sort(np.random.default_rng(0).permutation(held_out)[:most])
    halves = {half: load_half(run, half) for half in (1, 2)}
    landmarks = some_landmarks(halves[1])
    particles = inputs.particles.take(chosen)
    contrast = contrast_in(halves.values(), particles.rows)
    trials = {}
    for half, trained in halves.items():
        data = HalfSet(particles, half, inputs.imaging, device, contrast)
        trials[half] = _tried(run, trained.to(device), data, landmarks.to(device))
    with tell.doing("latents against what they must not depend on"):
        return [*_of_likelihood(trials), *_of_agreement(run, trials), *_of_leaks(run, inputs)]


def record_of(controls: Sequence[Control]) -> dict[str, Any]:
    """The controls as ``validation.json`` holds them, with null for numbers that are not finite."""
    listed = [
        {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in found.items()}
        for found in map(asdict, controls)
    ]
    return {"failed": sum(control.verdict == FAIL for control in controls), "controls": listed}


def controls_in(record: dict[str, Any]) -> list[Control]:
    """The controls that :func:`record_of` wrote down.

    Raises:
        ValueError, KeyError, TypeError: they are something else.
    """
    found = []
    for one in record["controls"]:
        if one["verdict"] not in (PASS, WARN, FAIL):
            raise ValueError(f"no verdict {one['verdict']!r}")
        value, chance = (float("nan") if one[name] is None else float(one[name]) for name in ("value", "chance"))
        found.append(Control(str(one["name"]), one["verdict"], value, chance, str(one["unit"]), str(one["words"])))
    if not found:
        raise ValueError("no controls")
    return found


def _of_likelihood(trials: dict[int, Trial]) -> list[Control]:
    controls = []
    for half, trial in trials.items():
        controls += [
            must_exceed_zero(
                f"held-out gain, half {half}", trial.still - trial.own, "nats a particle",
                "motion explains shells of held-out images that it was not fitted to",
            ),
            must_vanish(
                f"permuted latents, half {half}", trial.still - trial.permuted, "nats a particle",
                "the motion of another particle must not explain an image better than no motion",
            ),
            must_exceed_zero(
                f"reversed motion, half {half}", trial.reversed - trial.still, "nats a particle",
                "the motion with its sign reversed must be worse than no motion",
            ),
        ]  # fmt: skip
    return controls


def _of_agreement(run: Run, trials: dict[int, Trial]) -> list[Control]:
    if config_of(run).half_sets == "shared":
        return []  # Both halves are one model, and agree by construction.
    words = "both halves, from different shells, see the same motion in particles that neither has learned from"
    return [agreement("agreement of the halves", trials[1].displacement, trials[2].displacement, words)]


def _of_leaks(run: Run, inputs: Inputs) -> list[Control]:
    """Whether the motion can be told from the view, the defocus, the shift or the micrograph of a particle."""
    space = conformation_space(run)
    particles = inputs.particles
    at = np.searchsorted(particles.rows, space.rows)
    rotation = particles.pose.rotation[torch.from_numpy(at)].numpy()
    defocus = 0.5 * (particles.ctf.defocus_u + particles.ctf.defocus_v)[torch.from_numpy(at)].numpy()
    in_plane = rotation[:, :2, 2]
    nuisances = {
        "view": rotation[:, 2],
        "in-plane angle": in_plane / np.maximum(np.linalg.norm(in_plane, axis=1, keepdims=True), 1e-9),
        "defocus": defocus[:, None],
        "shift": particles.pose.shift[torch.from_numpy(at)].numpy(),
    }
    controls = [
        leak(f"leak of the {name}", space.motion, values, f"the motion must not be told from the {name}")
        for name, values in nuisances.items()
        if np.ptp(values, axis=0).max() > 0.0
    ]
    columns = ParticleColumns.of(particles.source)
    if "rlnMicrographName" in columns:
        group = np.unique(columns.text("rlnMicrographName")[space.rows].astype(str), return_inverse=True)[1]
        words = "the motion must not be told from the micrograph"
        controls.append(group_leak("leak of the micrograph", space.motion, group, words))
    return controls


@torch.no_grad()
def _tried(run: Run, trained: TrainedHalf, data: HalfSet, landmarks: Tensor) -> Trial:
    model, prior, device = trained.model, config_of(run).latent_prior, data.device
    weights = noise_weights(trained.noise_power.to(device), data.grid)
    side = _alternate(data.grid, device) == trained.half % 2
    fitting, judging = torch.where(side, weights, 0.0), torch.where(side, 0.0, weights)
    k = trained.latents.mean.shape[1]
    step = max(1, len(trained.rows) // _CANDIDATES)
    candidates = torch.cat([torch.zeros(1, k), trained.latents.mean[::step][:_CANDIDATES]]).to(device)
    everyone = torch.arange(len(data))
    own = inference.find_latents(
        model, data.batch, everyone, fitting, None, candidates,
        prior=prior, task=f"held-out latents, model of half {trained.half}",
    ).mean.to(device)  # fmt: skip
    # Everybody gets the latents of another: the next in a random round.
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    other = torch.empty_like(own)
    other[order] = own[order.roll(1)]
    still = model.deformed(own.mean(dim=0, keepdim=True))
    losses: dict[str, list[Tensor]] = {"own": [], "permuted": [], "reversed": [], "still": []}
    for part in tell.each(everyone.split(_AT_ONCE), f"held-out particles, model of half {trained.half}"):
        batch = data.batch(part)
        moved = model.deformed(own[part])
        places = {
            "own": moved,
            "permuted": model.deformed(other[part]),
            "reversed": 2.0 * still - moved,
            "still": still.expand_as(moved),
        }
        for name, points in places.items():
            predicted = model.render(points, batch.pose, batch.ctf)
            losses[name].append(data_loss(predicted, batch.coefficients, judging))
    displacement = trained.displacements(own, landmarks).double().cpu().numpy()
    values = {name: torch.cat(parts).double().cpu().numpy() for name, parts in losses.items()}
    return Trial(**values, displacement=displacement)


def _alternate(grid: Grid, device: torch.device) -> Tensor:
    """0 and 1 by turns for every few shells, ``(h w)``."""
    return grid.shells(2, device) // SHELLS_TOGETHER % 2
