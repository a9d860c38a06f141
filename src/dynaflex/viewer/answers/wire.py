"""Messages to and from the page: a JSON header and arrays behind it, laid out so that a browser reads them in place."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynaflex.errors import InputError
from dynaflex.shapes import FloatArray

_ALIGNMENT = 8
LEVELS = 65535


def pack(header: dict[str, Any], *arrays: NDArray[Any]) -> bytes:
    """The header's length (uint32), the header with every array's ``dtype`` and ``shape``, then the arrays.

    Numbers are little-endian; every array begins at a multiple of eight bytes.
    """
    stored = [np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")) for array in arrays]
    listed = [{"dtype": array.dtype.name, "shape": list(array.shape)} for array in stored]
    text = json.dumps({**header, "arrays": listed}, allow_nan=False).encode()
    text += b" " * (-(len(text) + 4) % _ALIGNMENT)
    parts = [struct.pack("<I", len(text)), text]
    for array in stored:
        content = array.tobytes()
        parts += [content, bytes(-len(content) % _ALIGNMENT)]
    return b"".join(parts)


def unpack(message: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON header of a message from the page, and what lies behind it.

    Raises:
        InputError: there is no such header.
    """
    try:
        (size,) = struct.unpack_from("<I", message)
        header = json.loads(message[4 : 4 + size])
        if 4 + size > len(message) or not isinstance(header, dict):
            raise ValueError("cut short")
    except (struct.error, ValueError, RecursionError) as error:
        raise InputError("view.message", "the page sent a message that cannot be read", found=error) from error
    return header, message[4 + size :]


def quantised(values: FloatArray, low: float, high: float, dtype: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """``values`` clipped to ``low`` ... ``high`` and spread over all integers of ``dtype``."""
    top = np.iinfo(dtype).max
    scaled = (values - low) * (top / max(high - low, 1e-12))
    return np.clip(np.rint(scaled), 0, top).astype(dtype)
