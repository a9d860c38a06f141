"""What every method is given besides their settings: files, and how far to go with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dynaflex.cli.options import CACHE_HELP, GPUS_HELP, THREADS_HELP
from dynaflex.config import Stage

FILES, _RUN = "Files", "Run"

Particles = Annotated[
    Path, typer.Argument(metavar="PARTICLES", help="RELION STAR or cryoSPARC .cs file of a finished refinement.")
]
Map = Annotated[
    Path,
    typer.Option("--map", metavar="FILE", help="Consensus map, .mrc, white molecules.", rich_help_panel=FILES),
]
Mask = Annotated[
    Path | None,
    typer.Option(
        "--mask", metavar="FILE", rich_help_panel=FILES,
        help="Soft mask around all that may move, for the start and for the FSC; default from the map.",
    ),
]  # fmt: skip
HalfMaps = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        "--half-maps", metavar="FILE FILE", rich_help_panel=FILES,
        help="Consensus half-maps 1 and 2: each half starts from its own.",
    ),
]  # fmt: skip
ImageFolder = Annotated[
    Path | None,
    typer.Option("--datadir", metavar="DIR", rich_help_panel=FILES, help="Where to look for image files."),
]
Prefix = Annotated[
    str | None,
    typer.Option(
        "--strip-prefix", metavar="TEXT", rich_help_panel=FILES,
        help="Drop this from the beginning of image names before looking for them.",
    ),
]  # fmt: skip

Out = Annotated[
    Path, typer.Option("-o", "--out", metavar="RUN", rich_help_panel=_RUN, help="Run directory, made where missing.")
]
Resume = Annotated[
    bool, typer.Option("--resume", rich_help_panel=_RUN, help="Continue the run in -o, with its settings.")
]
Until = Annotated[
    Stage,
    typer.Option("--until", rich_help_panel=_RUN, help="Last stage."),
]
RunDevice = Annotated[
    str,
    typer.Option("--device", metavar="NAME", rich_help_panel=_RUN, help="'auto', 'cpu', 'cuda' or 'cuda:1'."),
]
RunThreads = Annotated[
    int | None, typer.Option("--threads", metavar="N", min=1, rich_help_panel=_RUN, help=THREADS_HELP)
]
RunGpus = Annotated[str | None, typer.Option("--gpus", metavar="N,N", rich_help_panel=_RUN, help=GPUS_HELP)]
RunCache = Annotated[str, typer.Option("--cache", metavar="DIR|off", rich_help_panel=_RUN, help=CACHE_HELP)]
SkipCheck = Annotated[
    bool,
    typer.Option("--skip-check", rich_help_panel=_RUN, help="Train even if the particles do not match the map."),
]
