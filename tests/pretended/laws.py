"""Laws of the pretended device: it refuses what a GPU refuses, and computes what the CPU does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from pretended import NAME
from pretended.device import Device, PretendedTensor, pretended

HERE = torch.arange(6.0).view(2, 3)


@pytest.fixture
def device() -> Iterator[Device]:
    with pretended() as entered:
        yield entered


@pytest.fixture
def there(device: Device) -> torch.Tensor:
    return HERE.to(NAME)


def test_what_is_sent_there_is_there_and_comes_back(there: torch.Tensor) -> None:
    assert isinstance(there, PretendedTensor) and there.device == torch.device(NAME, 0)
    assert torch.equal(there.cpu(), HERE) and torch.equal(there.to("cpu"), HERE)
    assert there.tolist() == HERE.tolist() and float(there[1, 2]) == 5.0
    for made in (torch.zeros(2, device=NAME), torch.tensor([1.0], device=NAME), there.new_ones(2), there[:, None]):
        assert isinstance(made, PretendedTensor)


@pytest.mark.parametrize(
    "mixed",
    [
        lambda there: there + HERE,
        lambda there: there @ HERE.T,
        lambda there: torch.cat([there, HERE]),
        lambda there: torch.stack([there[0, 0], torch.zeros(())]),
        lambda there: HERE[torch.zeros(1, dtype=torch.int64).to(NAME)],
        lambda there: HERE.clone().add_(there),
        lambda there: torch.zeros(()).add_(there[0, 0]),
        lambda there: there.index_select(0, torch.zeros(1, dtype=torch.int64)),
        lambda there: there.index_put_((torch.zeros(1, dtype=torch.int64),), HERE[:1]),
        lambda there: torch.randn(2, generator=torch.Generator(), device=NAME),
    ],
)
def test_two_places_do_not_mix(there: torch.Tensor, mixed: Callable[[torch.Tensor], object]) -> None:
    with pytest.raises(RuntimeError, match="device"):
        mixed(there)


@pytest.mark.parametrize(
    "allowed",
    [
        lambda values: values + torch.tensor(2.0),
        lambda values: torch.where(values > 1.0, values, torch.zeros(())),
        lambda values: values[torch.tensor([1, 0])],
        lambda values: values[torch.tensor([True, False])],
        lambda values: values.clone().copy_(HERE + 1.0),
        lambda values: torch.fft.rfft(values).conj() * 1j,
    ],
)
def test_what_a_gpu_allows_gives_what_the_cpu_does(
    there: torch.Tensor, allowed: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    found = allowed(there)
    assert isinstance(found, PretendedTensor) and torch.equal(found.cpu(), allowed(HERE))


def test_numpy_is_refused(there: torch.Tensor) -> None:
    for refused in (there.numpy, there.__array__):
        with pytest.raises(TypeError, match="can't convert"):
            refused()


def test_waits_are_counted(device: Device, there: torch.Tensor) -> None:
    device.waits.clear()
    _ = there + 1.0, there.sum(), there[:, torch.tensor([0], device=NAME)[:0].clone()]
    before = sum(device.waits.values())
    _ = there.sum().item(), there.cpu(), there.nonzero(), bool(there.any()), there[there > 1.0]
    assert sum(device.waits.values()) == before + 5
