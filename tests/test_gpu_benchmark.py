"""What measures a GPU says plainly that there is none, and knows how to measure one."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_without_a_gpu_it_says_so_and_measures_nothing() -> None:
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    typed = [sys.executable, BENCHMARKS / "gpu.py"]
    ended = subprocess.run(typed, env=hidden, capture_output=True, text=True, check=False)
    assert ended.returncode == 0 and ended.stdout == ""
    assert ended.stderr == "Nothing is measured, because torch finds no GPU here.\n"


def test_every_kernel_is_measured_against_plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU it is the kernels of the CPU that take turns with torch."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setenv("DYNAFLEX_KERNELS", "")
    gpu, cpu = import_module("gpu"), torch.device("cpu")
    monkeypatch.setattr(gpu, "GAUSSIANS", 50)
    monkeypatch.setattr(gpu, "seconds", lambda step, device: 1.0)
    measured = {name: gpu.figures(step, work, 1, cpu) for name, work, step in gpu.steps(16, 2, cpu)}
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    assert measured.keys() == {"mesh_splat", "mesh_gather", "splat", "gather", "rigidity"}
    assert all(found["differ"] < 1e-4 and found["times_faster"] == 1.0 for found in measured.values())
    assert measured["splat"]["triton_giga_per_s"] == pytest.approx(1e-7)
