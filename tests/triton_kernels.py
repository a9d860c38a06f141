"""The Triton kernels for tests: on the GPU where there is one, elsewhere on the CPU, in Triton's interpreter.

``interpreted.py`` says which of both.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

if find_spec("triton") is None:
    pytest.skip("triton is not installed: the kernels of GPUs are NOT tested", allow_module_level=True)

from dynaflex.kernels.triton import corners, mesh, rigidity, splat, trial

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

__all__ = ["DEVICE", "corners", "mesh", "rigidity", "splat", "trial"]
