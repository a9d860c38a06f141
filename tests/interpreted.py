"""Where there is no GPU, Triton's kernels are interpreted, on the CPU.

Triton decides that as it is imported, and torch imports it when parts of torch are: this has to come first.
"""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
