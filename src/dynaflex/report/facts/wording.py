"""The words of the report: those of the method that a run was made with, or of any, where it is not known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dynaflex.errors import DynaflexError
from dynaflex.run.files import MESH
from dynaflex.training.installed import method_named
from dynaflex.training.method import Wording

THRESHOLD = "threshold.json"
SHOWN = (MESH, THRESHOLD)
"""What the model can be drawn from, beside the files that every run has."""


def wording_of(run: Path, config: Mapping[str, Any]) -> Wording:
    """The words for the method that ``config.json`` names; a report is made whatever that is."""
    name = str(config.get("method"))
    try:
        return method_named(name).wording
    except DynaflexError:
        return Wording(
            title=f"the method {name}" if "method" in config else "an unknown method",
            carrier="model",
            points="points of the model",
            model="model",
            heading="Model",
            geometry="geometry",
            shaded="in the shaded epochs only the density was trained.",
            soften="a weaker prior on the motion",
            shown=tuple(file for file in SHOWN if (run / file).exists()),
        )
