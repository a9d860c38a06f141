"""Starting a kernel on the device where its arrays are."""

from __future__ import annotations

from typing import Any

import torch

from dynaflex.shapes import Tensor


def launch(kernel: Any, programs: int, first: Tensor, *arguments: Tensor | int, **constants: int) -> None:
    """Start so many programs of a kernel, which may be none, where its arrays are: Triton takes the current device.

    A grid has one dimension: only the first may have more than 65,535 programs.
    """
    if programs > 0:
        with torch.cuda.device_of(first):
            # Said, because its default changes with Triton 3.10: multiplications are fused with additions.
            kernel[(programs,)](first, *arguments, **constants, enable_fp_fusion=True)


def blocks_of(total: int, size: int) -> int:
    """How many blocks of that size hold so many elements."""
    return -(-total // size)
