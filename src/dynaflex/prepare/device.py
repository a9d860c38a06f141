"""On what is computed: the device, and how many threads torch may have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dynaflex.errors import EnvironmentFault

if TYPE_CHECKING:
    import torch


def pick_device(name: str) -> torch.device:
    """The device of that name; ``auto`` takes the first GPU there is.

    Raises:
        EnvironmentFault: the device does not exist here, or the kernels compiled for it are those of another version.
    """
    import torch

    from dynaflex import kernels

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    use_one_thread()
    try:
        device = torch.device(name)
        sample = torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EnvironmentFault(
            "device.missing",
            f"the device {name!r} cannot be used here",
            found=str(error).splitlines()[0],
            fix="--device cpu",
        ) from error
    # Now, and not when the images have been read.
    kernels.backend(sample)
    return device


def use_gpu(number: int) -> None:
    """Mean the GPU of this number where just ``cuda`` is said."""
    import torch

    torch.cuda.set_device(number)


def use_one_thread() -> None:
    """Keep torch to one thread.

    The kernels have threads of their own. Torch's spend their time waiting for each other: on tensors of this size two
    of them are slower than one, and many times slower on a machine that does something else as well.
    """
    import torch

    torch.set_num_threads(1)


@contextmanager
def with_threads(count: int | None = None) -> Iterator[None]:
    """While inside, the kernels have so many threads, or where it is None as many as before, and torch one.

    Whoever goes on after us has the threads again that there were.
    """
    import torch

    from dynaflex.kernels import native

    before, kernels_before = torch.get_num_threads(), native.threads()
    try:
        use_one_thread()
        native.set_threads(count or kernels_before)
        yield
    finally:
        native.set_threads(kernels_before)
        torch.set_num_threads(before)
