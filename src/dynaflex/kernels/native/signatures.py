"""What the compiled library must offer: its functions and the kinds of their arguments, in the order of the C sources.

C reads memory without asking, so ctypes asks: an argument that is an array has to be a contiguous tensor on the CPU
with elements of the kind that is listed here.
"""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar, Self

import torch

INTERFACE = 2
"""The number in ``kernels.h`` that this table was written for. Both rise when an argument, the layout of an array or
the meaning of either changes."""


class Array(ctypes.c_void_p):
    """An argument that is a tensor, as the pointer to its first element; it keeps the tensor alive."""

    dtype: ClassVar[torch.dtype]
    tensor: torch.Tensor

    @classmethod
    def from_param(cls, value: Any) -> Self:
        """The pointer to a tensor, or a pointer made before."""
        if isinstance(value, cls):
            return value
        if value.dtype is not cls.dtype or not value.is_contiguous() or not value.is_cpu:
            raise TypeError(
                f"expected a contiguous {cls.dtype} tensor on the CPU, found {value.dtype} with strides "
                f"{value.stride()} on {value.device}"
            )
        pointer = cls(value.data_ptr())
        pointer.tensor = value
        return pointer


class F32(Array):
    """``float *``"""

    dtype = torch.float32


class I32(Array):
    """``int32_t *``"""

    dtype = torch.int32


class I8(Array):
    """``int8_t *``"""

    dtype = torch.int8


class I64(Array):
    """``int64_t *``"""

    dtype = torch.int64


N = ctypes.c_int64
_TABLE = (I32, F32, I8, I64)

SIGNATURES: dict[str, tuple[type | None, tuple[type, ...]]] = {
    "dynaflex_interface": (N, ()),
    "splat_forward": (None, (*[F32] * 3, *[N] * 5)),
    "splat_backward": (None, (*[F32] * 5, *[N] * 6)),
    "splat_gather": (None, (*[F32] * 3, *[N] * 6)),
    "edge_lengths_forward": (None, (F32, I32, F32, *[N] * 4)),
    "edge_lengths_backward": (None, (F32, I32, *[F32] * 3, *[N] * 4)),
    "mlp_forward_32": (None, (*[F32] * 6, *[N] * 5)),
    "mlp_forward_64": (None, (*[F32] * 6, *[N] * 5)),
    "mlp_backward_32": (None, (*[F32] * 12, *[N] * 5)),
    "mlp_backward_64": (None, (*[F32] * 12, *[N] * 5)),
    "mesh_splat_forward": (None, (F32, *_TABLE, *[F32] * 2, *[N] * 5)),
    "mesh_splat_backward": (None, (F32, *_TABLE, *[F32] * 4, *[N] * 5)),
    "mesh_splat_gather": (None, (F32, *_TABLE, *[F32] * 2, *[N] * 5)),
    "insert_real": (None, (*[F32] * 4, *[N] * 6)),
    "insert_complex": (None, (*[F32] * 4, *[N] * 6)),
    "rigidity_energy": (None, (F32, I32, *[F32] * 4, *[N] * 4)),
}
"""Name to result and arguments."""
