"""What the options of several commands have in common: how they are declared, and what is made of them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from dynaflex.run.directory import Run

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")]
Half = Literal[1, 2]
Device = Annotated[str, typer.Option(metavar="NAME", help="'auto', 'cpu', 'cuda' or 'cuda:1'.")]
THREADS_HELP = "CPU threads; default one for each core that may be used."
Threads = Annotated[int | None, typer.Option("--threads", metavar="N", min=1, help=THREADS_HELP)]
GPUS_HELP = "GPUs that work together, 0,1,2,3; with --device cpu as many processes."
Gpus = Annotated[str | None, typer.Option("--gpus", metavar="N,N", help=GPUS_HELP)]
CACHE_HELP = "Keep images ready in DIR, on a local disk; off: in memory; default in memory if they fit, else in RUN."
Cache = Annotated[str, typer.Option("--cache", metavar="DIR|off", help=CACHE_HELP)]
AsJson = Annotated[bool, typer.Option("--json", help="Print for machines.")]


def held_for(run: Run, *, writing: bool) -> AbstractContextManager[None]:
    """Hold the run while something is written into it."""
    return run.locked() if writing else nullcontext()
