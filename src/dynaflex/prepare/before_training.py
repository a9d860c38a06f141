"""The check before a run: nothing is trained on a table that is read in another way than it was meant, or that is not
enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dynaflex.checking.check import as_dict, compare_readings, refusal, warnings
from dynaflex.config import RunConfig
from dynaflex.data.halves import too_few
from dynaflex.errors import InputError, UsageError
from dynaflex.prepare.inputs import Inputs
from dynaflex.run.directory import Run


@dataclass(frozen=True)
class Fit:
    """How well particles match the map: what is written down of that, None where nobody asked, and ``warnings``."""

    record: dict[str, Any] | None
    warnings: tuple[str, ...]

    def note(self, run: Run) -> None:
        """Write it down in the run."""
        run.write_provenance(check=self.record)
        for warning in self.warnings:
            run.warn(warning)


Check = Callable[[Inputs], Fit]


def checked(inputs: Inputs) -> Fit:
    """How well the particles match the map. Those that do not in any way are trained on, with a warning that the
    report repeats: that is what images of nothing look like, and to see that nothing comes of them is a control.

    Raises:
        InputError: the table is misread.
    """
    comparison = compare_readings(inputs.particles, inputs.consensus[0], inputs.given_mask, inputs.imaging.sign)
    error = refusal(comparison, inputs.particles)
    if error is not None and comparison.matches:
        raise error
    record = {key: value for key, value in as_dict(comparison).items() if key != "others"}
    return Fit(record, tuple(warnings(comparison)) if error is None else (str(error),))


def unchecked(_: Inputs) -> Fit:
    """That nobody asked."""
    return Fit(None, ("--skip-check: whether the particles match the map was not checked",))


def require_enough(inputs: Inputs, config: RunConfig) -> None:
    """Refuse halves that are too small to train.

    Raises:
        InputError: they are.
    """
    particles, one = inputs.particles, inputs.particles.conformations
    few = too_few(
        particles.half[one], inputs.held_out[one], config.trained_halves, config.batch_size, inputs.paths.particles
    )
    if few is not None:
        raise few


def require_able(inputs: Inputs, method: str, reads_tilt_series: bool, in_a_crew: bool) -> None:
    """Refuse tilt series where nobody adds up what their images say of one conformation.

    Raises:
        InputError: the method does not.
        UsageError: several processes would share out the images of a half.
    """
    if inputs.particles.tilted is None:
        return
    if not reads_tilt_series:
        raise InputError(
            "tomography.method", f"these are tilt series, and {method} takes every image for a particle",
            file=inputs.paths.particles, fix="dynaflex flex",
        )  # fmt: skip
    require_shareable(inputs, in_a_crew)


def require_shareable(inputs: Inputs, in_a_crew: bool) -> None:
    """Refuse several processes that would share out the images of a particle.

    Raises:
        UsageError: these are tilt series.
    """
    if in_a_crew and inputs.particles.tilted is not None:
        raise UsageError("tomography.ranks", "tilt series are not shared out among processes", fix="one process a half")
