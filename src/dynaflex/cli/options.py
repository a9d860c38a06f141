"""What the options of several commands have in common: how they are declared, and what is made of them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dynaflex.errors import EnvironmentFault

if TYPE_CHECKING:
    import torch

    from dynaflex.run.directory import Run

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")]
Half = Literal[1, 2]
Device = Annotated[str, typer.Option(metavar="NAME", help="'auto', 'cpu', 'cuda' or 'cuda:1'.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print for machines.")]


def pick_device(name: str) -> torch.device:
    """The device of that name; ``auto`` takes the first GPU there is.

    Raises:
        EnvironmentFault: the device does not exist here.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    use_one_thread()
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EnvironmentFault(
            "device.missing",
            f"the device {name!r} cannot be used here",
            found=str(error).splitlines()[0],
            fix="--device cpu",
        ) from error
    return device


def held_for(run: Run, *, writing: bool) -> AbstractContextManager[None]:
    """Hold the run while something is written into it."""
    return run.locked() if writing else nullcontext()


def use_one_thread() -> None:
    """Keep torch to one thread.

    The kernels have threads of their own. Torch's spend their time waiting for each other: on tensors of this size two
    of them are slower than one, and many times slower on a machine that does something else as well.
    """
    import torch

    torch.set_num_threads(1)
