"""The backend of NVIDIA GPUs, and whether it can serve here."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch

from dynaflex import tell
from dynaflex.kernels.backend import SWITCH, Backend, register


@cache
def hindrance() -> str | None:
    """Why the kernels cannot serve, in a few words; None where they can. It is found out once in a process.

    Triton compiles with the tools of the machine and for the GPU that is there, so that much can be amiss which no look
    at versions tells. The kernels have to solve a small problem before they are trusted with others; where they fail,
    torch takes their place, and that is said.
    """
    if not torch.cuda.is_available():
        return "torch finds no GPU here"
    if find_spec("triton") is None:
        return "triton is not installed"
    try:
        from dynaflex.kernels.triton import trial

        found = trial.failure(torch.device("cuda", torch.cuda.current_device()))
    except Exception as error:  # whatever a compiler, a driver or another version of triton may raise
        found = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    if found is not None:
        tell.warn(
            f"the Triton kernels do not work here, torch computes in their place: {found}. "
            f"{SWITCH}=reference asks for that"
        )
    return found


def _described() -> str:
    from triton import __version__

    return f"Triton {__version__} on {torch.cuda.get_device_name()}"


CUDA = register(Backend("triton", "cuda", lambda: hindrance() is None, lambda: hindrance() or _described()))
