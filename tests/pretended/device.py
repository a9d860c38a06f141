"""A pretended accelerator: tensors that lie on the CPU and behave as if they were somewhere else.

What would fail on a GPU because two tensors are not in one place, or because NumPy is asked for what is not its own,
fails here too. What a GPU computes, and how fast, nobody learns from it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

from pretended import NAME

_HERE = torch.device("cpu")
_SOURCES = "/src/dynaflex/"

# Before anything is differentiated in this process: torch counts its devices then, and never again.
backend_registration._setup_privateuseone_for_python_backend(rename=NAME)

Tensor = torch.Tensor
aten = torch.ops.aten

_MOVES = {aten._to_copy.default, aten.copy_.default}
"""Operations that may go from one place to another."""
_BY_INDEX = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
"""Those that fetch indices from the CPU where they are."""
_WITH_SCALARS = {
    aten.where.self, aten.masked_fill.Tensor, aten.masked_fill_.Tensor, aten.fill.Tensor, aten.fill_.Tensor,
    aten.index_fill.int_Tensor, aten.index_fill_.int_Tensor,
}  # fmt: skip
"""Those that take a tensor without dimensions from the CPU, beside all that are computed element by element."""
_WAITS = {
    aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.equal.default,
    aten.is_nonzero.default, aten.bincount.default, aten._unique2.default, aten.unique_dim.default,
    aten.unique_consecutive.default, aten.repeat_interleave.Tensor, aten._linalg_check_errors.default,
}  # fmt: skip
"""Those whose result, or its size, the CPU has to wait for."""


class PretendedTensor(Tensor):
    """A tensor on the pretended device; ``lies`` is where its numbers are."""

    lies: Tensor

    @staticmethod
    def __new__(cls, lies: Tensor) -> PretendedTensor:
        strided = {}
        if lies.layout == torch.strided:
            strided = {"strides": lies.stride(), "storage_offset": lies.storage_offset()}
        made = Tensor._make_wrapper_subclass(
            cls, lies.shape, dtype=lies.dtype, layout=lies.layout, device=torch.device(NAME, 0), **strided
        )
        made.lies = lies
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(operation, args, kwargs or {})

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            _refuse_numpy()
        return self.detach().cpu().numpy()

    def __array__(self, *_how: Any) -> NoReturn:
        _refuse_numpy()

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    def __format__(self, form: str) -> str:
        return format(self.item() if self.dim() == 0 else repr(self), form)

    def __repr__(self, **_how: Any) -> str:
        return f"{self.lies!r} on {self.device}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copied = self.detach().clone()
        copied = torch.nn.Parameter(copied, self.requires_grad) if isinstance(self, torch.nn.Parameter) else copied
        memo[id(self)] = copied
        return copied


def _refuse_numpy() -> NoReturn:
    raise TypeError(
        f"can't convert {NAME}:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
    )


class Device(TorchDispatchMode):
    """While entered, there is a device of this name. Counts how often it is waited for, by place in the sources.

    ``before`` is called ahead of each operation whose result is on the device, with the operation and its result's
    bytes; what it raises is raised in place of the result.
    """

    def __init__(self, before: Callable[[Any, int], None] | None = None) -> None:
        super().__init__()
        self.waits: Counter[tuple[str, str]] = Counter()
        self.operations = 0
        self.before = before
        self._lifts = False

    def __enter__(self) -> Device:
        self._lifts = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        torch._C._set_only_lift_cpu_tensors(self._lifts)

    def __torch_dispatch__(self, operation: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        return _computed(operation, args, kwargs or {}, self)

    def waited(self, why: str) -> None:
        """Remember that the CPU waits for the device, here."""
        self.waits[why, _place()] += 1


def _place() -> str:
    """The line of the sources that is at work."""
    frame = sys._getframe(1)
    while frame is not None:
        if _SOURCES in frame.f_code.co_filename:
            return f"{frame.f_code.co_filename.split(_SOURCES)[1]}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"


def _computed(operation: Any, args: Any, kwargs: dict[str, Any], device: Device | None = None) -> Any:
    """What an operation gives where its arguments lie, as a result in the place where it would have been."""
    tensors = [*_tensors(args), *_tensors(tuple(kwargs.values()))]
    there = [one for one in tensors if isinstance(one, PretendedTensor)]
    asked = kwargs.get("device")
    result_there = bool(there) if asked is None else torch.device(asked).type == NAME
    _refuse_mixture(operation, args, tensors, there)
    if result_there:
        _refuse_generator(kwargs.get("generator"))
    if device is not None and (there or result_there):
        _note_waits(device, operation, args, tensors, result_there)
    if asked is not None:
        kwargs = {**kwargs, "device": _HERE}
    result = operation(*_lying(args), **{name: _lying(value) for name, value in kwargs.items()})
    known = {id(one.lies): one for one in there}
    if device is not None and device.before is not None and result_there:
        made = [one for one in _tensors((result,)) if id(one) not in known and one.layout == torch.strided]
        device.before(operation, sum(one.nbytes for one in made))
    return _pretended(result, known) if result_there else result


def _refuse_mixture(operation: Any, args: Any, tensors: list[Tensor], there: list[PretendedTensor]) -> None:
    """As a GPU would."""
    if not there or len(there) == len(tensors) or operation in _MOVES:
        return
    here = [one for one in tensors if not isinstance(one, PretendedTensor)]
    if operation in _BY_INDEX:
        if not isinstance(args[0], PretendedTensor):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        if len(args) > 2 and not isinstance(args[2], PretendedTensor) and args[2].dim() > 0:
            _refuse(operation)
        return
    with_scalars = torch.Tag.pointwise in operation.tags or operation in _WITH_SCALARS
    written = operation._schema.is_mutable and not isinstance(args[0], PretendedTensor)
    if written or not with_scalars or any(one.dim() > 0 for one in here):
        _refuse(operation)


def _refuse(operation: Any) -> NoReturn:
    raise RuntimeError(
        "Expected all tensors to be on the same device, but found at least two devices, "
        f"{NAME}:0 and cpu! ({operation})"
    )


def _refuse_generator(generator: Any) -> None:
    if isinstance(generator, torch.Generator) and generator.device.type != NAME:
        raise RuntimeError(f"Expected a '{NAME}' device type for generator but found '{generator.device.type}'")


def _note_waits(device: Device, operation: Any, args: Any, tensors: list[Tensor], result_there: bool) -> None:
    if operation in _MOVES:
        source = args[1] if operation is aten.copy_.default else args[0]
        target_there = isinstance(args[0], PretendedTensor) if operation is aten.copy_.default else result_there
        if isinstance(source, PretendedTensor) != target_there:
            device.waited("to device" if target_there else "to cpu")
    elif operation in _WAITS:
        device.waited(operation._schema.name.removeprefix("aten::"))
    elif operation in _BY_INDEX:
        for index in (one for one in args[1] if one is not None):
            if index.dtype in (torch.bool, torch.uint8):
                device.waited("mask")
            elif not isinstance(index, PretendedTensor):
                device.waited("index to device")


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _lying(value: Any) -> Any:
    if isinstance(value, PretendedTensor):
        return value.lies
    return type(value)(map(_lying, value)) if type(value) in (list, tuple) else value


def _pretended(value: Any, known: dict[int, PretendedTensor]) -> Any:
    if isinstance(value, Tensor):
        # A conjugate that is put off would not be known from outside.
        return known[id(value)] if id(value) in known else PretendedTensor(value.resolve_conj().resolve_neg())
    return type(value)(_pretended(one, known) for one in value) if type(value) in (list, tuple) else value


@contextmanager
def pretended(before: Callable[[Any, int], None] | None = None) -> Iterator[Device]:
    """There is a pretended device while inside."""
    with Device(before) as device:
        yield device
