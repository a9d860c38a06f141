"""Options for inputs of a run that are not where they were: what they mean is the same in every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_PANEL = "Inputs that have moved (they are compared with those of the start)"

MovedParticles = Annotated[
    Path | None, typer.Option("--particles", help="The particle table, where it is now.", rich_help_panel=_PANEL)
]
MovedMap = Annotated[
    Path | None, typer.Option("--map", help="The consensus map, where it is now.", rich_help_panel=_PANEL)
]
MovedMask = Annotated[Path | None, typer.Option("--mask", help="The mask, where it is now.", rich_help_panel=_PANEL)]
MovedPrefix = Annotated[
    str | None,
    typer.Option(
        "--strip-prefix", metavar="TEXT", rich_help_panel=_PANEL,
        help="Drop this from the beginning of image names before looking for them.",
    ),
]  # fmt: skip
MovedImages = Annotated[
    Path | None, typer.Option("--datadir", help="Where to look for image files.", rich_help_panel=_PANEL)
]
