"""The controls of a finished run: would the motion be found if it were not there, and was the model in the images?

Particles that no model has learned from are embedded from half of their Fourier shells, and judged by the other half:
what was fitted to their noise does not count. The model of half 1 sees the shells that judge the model of half 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from dynaflex import tell
from dynaflex.data.columns import ParticleColumns
from dynaflex.errors import InputError
from dynaflex.judge.model_bias import of_model_bias
from dynaflex.prepare.inputs import Inputs
from dynaflex.products.space import conformation_space
from dynaflex.results.reopen import Moved, reopened
from dynaflex.results.support import FEWEST, Trial, support, trials
from dynaflex.results.trained import config_of, load_half
from dynaflex.run.directory import Run
from dynaflex.run.files import FSC
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
    rest,
)

VALIDATION = "validation.json"
"""The file of a run with the verdicts on it."""


def run_controls(run: Run, device: torch.device, most: int, moved: Moved) -> list[Control]:
    """All controls, on at most so many held-out particles; inputs that have ``moved`` are taken from there.

    Raises:
        UsageError: the run has not been trained to its end.
        InputError: its particles cannot be read any more, or too few are held out.
    """
    inputs = reopened(run, moved)
    held_out = inputs.images_held_out
    if held_out < FEWEST:
        raise InputError(
            "validate.too-few", "too few particles were held out to test the motion on",
            file=run.path, expected=f"at least {FEWEST}", found=held_out,
            fix="use more particles, or hold out more of them",
        )  # fmt: skip
    landmarks = load_half(run, 1).some_landmarks()
    found = trials(run, inputs, device, most=most, landmarks=landmarks)
    with tell.doing("latents against what they must not depend on"):
        alike = [*_of_agreement(run, found), *_of_rest(run)]
        return [*_of_likelihood(found), *alike, *_of_leaks(run, inputs), *of_model_bias(run)]


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


def _of_likelihood(found: dict[int, Trial]) -> list[Control]:
    controls = []
    for half, trial in found.items():
        gain = must_exceed_zero(
            f"held-out gain, half {half}", trial.rigid - trial.own, "nats a particle",
            "shells that nothing was fitted to are likelier than with a rigid map of the same particles, and than "
            "with the motion of another",
        )  # fmt: skip
        controls += [
            # What fits everybody better is another conformation, and no motion.
            gain if support(trial).moves or gain.verdict != PASS else replace(gain, verdict=FAIL),
            must_exceed_zero(
                f"motion within, half {half}", trial.whole - trial.own, "nats a particle",
                "the motion must explain more than other poses of the whole molecule do",
            ),
            must_vanish(
                f"permuted latents, half {half}", trial.rigid - trial.permuted, "nats a particle",
                "the motion of another particle must not explain an image better than the rigid map",
            ),
            must_exceed_zero(
                f"reversed motion, half {half}", trial.reversed - trial.still, "nats a particle",
                "the motion with its sign reversed must be worse than no motion",
            ),
        ]  # fmt: skip
    return controls


def _of_agreement(run: Run, found: dict[int, Trial]) -> list[Control]:
    if config_of(run).half_sets == "shared":
        return []  # Both halves are one model, and agree by construction.
    words = "both halves, from different shells, see the same motion in particles that neither has learned from"
    return [agreement("agreement of the halves", found[1].displacement, found[2].displacement, words)]


def _of_rest(run: Run) -> list[Control]:
    """Whether the part that moves rests alike in both half-maps, if they are there and it moves."""
    docked = run.read_json(FSC).get("docked_part")
    if docked is None:
        return []
    words = "the part that moves rests in one place in both half-maps, or so near that their mean is not blurred"
    names = ("angle", "angle_error", "displacement", "resolution")
    angle, error, displacement, finest = (float(docked[name]) for name in names)
    return [rest("rest of the halves", angle, error, displacement, finest, words)]


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
