"""The check as a part of a method: nothing is trained on a table that is read in another way than it was meant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dynaflex.pipelines.check import as_dict, compare_readings, refusal, warnings
from dynaflex.pipelines.config import RunConfig
from dynaflex.pipelines.inputs import Inputs
from dynaflex.pipelines.method import Method, Work


def checked(method: Method) -> Method:
    """The method with the check before it: it refuses a table that is misread, and writes down how well it fits.

    Particles that do not match the map in any way are trained on, with a warning that the report repeats: that is what
    images of nothing look like, and to see that nothing comes of them is a control.
    """
    found: dict[str, Any] = {}

    def examine(inputs: Inputs, config: RunConfig) -> Any:
        comparison = compare_readings(inputs.particles, inputs.consensus[0], inputs.given_mask, inputs.imaging.sign)
        error = refusal(comparison, inputs.particles)
        if error is not None and comparison.matches:
            raise error
        found["check"] = {key: value for key, value in as_dict(comparison).items() if key != "others"}
        found["warnings"] = warnings(comparison) if error is None else [str(error)]
        return method.examine(inputs, config)

    def prepare(work: Work) -> list[str]:
        work.run.write_provenance(check=found["check"])
        for warning in found["warnings"]:
            work.run.warn(warning)
        return method.prepare(work)

    return replace(method, examine=examine, prepare=prepare)


def unchecked(method: Method) -> Method:
    """The method as it is, with a note in the run that nobody asked whether its particles match the map."""

    def prepare(work: Work) -> list[str]:
        work.run.write_provenance(check=None)
        work.run.warn("--skip-check: whether the particles match the map was not checked")
        return method.prepare(work)

    return replace(method, prepare=prepare)
