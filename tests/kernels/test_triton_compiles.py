"""The Triton kernels are what its compiler takes too, not its interpreter alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is not installed: the kernels of GPUs are NOT tested")
SCRIPT = Path(__file__).parents[1] / "compiled_kernels.py"
KERNELS = {
    "corners._sum", "mesh._backward", "mesh._gather", "mesh._splat", "quads._fold", "rigidity._rigidity",
    "splat._backward", "splat._gather", "splat._splat",
}  # fmt: skip


def test_every_kernel_compiles_for_an_h100_that_is_not_here(tmp_path: Path) -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    typed = [sys.executable, SCRIPT, "90"]
    ended = subprocess.run(typed, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found.keys() == KERNELS
    # What no kernel with a fixed order has: additions at a place that others add to as well.
    atomic = {name for name, ptx in found.items() if "atom." in ptx or "red." in ptx.replace("shared.", "")}
    assert atomic == {"mesh._splat", "splat._splat"}
    assert all("add.v4.f32" in found[name] for name in atomic)
