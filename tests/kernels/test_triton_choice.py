"""When the Triton kernels compute: for single precision on a GPU, where they can be trusted, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from dynaflex import kernels, tell
from dynaflex.kernels.backend import serving
from dynaflex.kernels.triton import cuda
from dynaflex.shapes import Tensor


def on_gpu(dtype: torch.dtype = torch.float32) -> Tensor:
    """What says of itself that it lies on a GPU, which need not be there."""
    with FakeTensorMode():
        return torch.empty(1, dtype=dtype, device="cuda:0")


@pytest.fixture
def asked() -> Iterator[Callable[[], str | None]]:
    """Finds out what stands in the way, as if nobody had asked before."""

    def anew() -> str | None:
        cuda.hindrance.cache_clear()
        return cuda.hindrance()

    yield anew
    cuda.hindrance.cache_clear()


class Warned:
    """Keeps what is warned of, and hears nothing else."""

    def __init__(self) -> None:
        self.of: list[str] = []

    def warn(self, message: str) -> None:
        self.of.append(message)


def test_they_serve_single_precision_on_a_gpu_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "hindrance", lambda: None)
    assert serving(on_gpu()) is cuda.CUDA and kernels.backend(on_gpu()) == "triton"
    assert serving(on_gpu(torch.float64)) is None
    assert serving(torch.zeros(1)) is not cuda.CUDA
    monkeypatch.setenv("DYNAFLEX_KERNELS", "reference")
    assert serving(on_gpu()) is None
    assert kernels.described("cuda") == "reference (plain torch): DYNAFLEX_KERNELS=reference"


def test_where_something_stands_in_the_way_torch_serves_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "hindrance", lambda: "it rains")
    assert serving(on_gpu()) is None and kernels.backend(on_gpu()) == "reference"
    assert kernels.described("cuda:1") == "reference (plain torch): it rains"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_they_serve_the_gpu_that_is_here() -> None:
    assert cuda.hindrance() in (None, "triton is not installed")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_nothing_is_tried(asked: Callable[[], str | None]) -> None:
    assert asked() == "torch finds no GPU here"


def test_without_triton_nothing_is_tried(asked: Callable[[], str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "find_spec", lambda name: None)
    heard = Warned()
    with tell.listening(heard):  # type: ignore[arg-type]
        assert asked() == "triton is not installed"
    assert heard.of == []


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ("splats of points differ from torch's by 1.0e-02 of the largest number",) * 2,
        (RuntimeError("Failed to find C compiler.\nPlease specify one"), "RuntimeError: Failed to find C compiler."),
        (None, None),
    ],
    ids=["wrong", "cannot be compiled", "right"],
)
def test_they_are_tried_once_before_they_are_trusted(
    outcome: str | Exception | None, reason: str | None, asked: Callable[[], str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    tried: list[torch.device] = []

    def failure(device: torch.device) -> str | None:
        tried.append(device)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    trial = ModuleType("dynaflex.kernels.triton.trial")
    trial.failure = failure  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dynaflex.kernels.triton.trial", trial)
    monkeypatch.setattr(sys.modules["dynaflex.kernels.triton"], "trial", trial, raising=False)
    monkeypatch.setattr(cuda, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    heard = Warned()
    with tell.listening(heard):  # type: ignore[arg-type]
        assert asked() == cuda.hindrance() == reason
    assert tried == [torch.device("cuda", 1)]
    assert [reason in message for message in heard.of] == ([True] if reason else [])


def test_a_cpu_pays_nothing() -> None:
    """What computes on a CPU imports no triton."""
    script = (
        "import sys, torch; from dynaflex import kernels; kernels.splat(torch.zeros(1, 2, 1), torch.ones(1), 8); "
        "sys.exit(any(name.split('.')[0] == 'triton' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
