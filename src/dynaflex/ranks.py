"""The processes that work on one half together: which of them this one is, its share of the particles, and sums.

Every rank holds the whole state of the work and does the same with it, but for what is asked of particles one by one:
that is shared out, and what comes of it is summed, so that all ranks go on with the same numbers. Alone, which is what
a process is outside of :func:`joined`, a share is everything and a sum is what it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as distributed
from torch.distributed import FileStore, PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from dynaflex.errors import ResourceError
from dynaflex.shapes import Tensor

T = TypeVar("T", Tensor, tuple[Tensor, ...])
MISSED = "rank.gone"
"""The identifier of the error that another of the processes is gone."""
_SILENT = timedelta(minutes=30)
"""How long a rank waits for the others at most. Who ends is noticed at once; this is for machines that vanish."""


@dataclass(frozen=True)
class Place:
    """The place of a process among ``size`` others: its ``rank`` from 0, where 0 writes what all have found.

    They meet by ``meeting``, a file that all see or the address ``host:port`` of a store, under the name of the
    ``work``; ``device`` is the kind that they compute on, ``"cpu"`` or ``"cuda"``.
    """

    rank: int
    size: int
    meeting: str
    work: str
    device: str


@dataclass
class _Group:
    rank: int
    size: int
    device: torch.device
    asks: Callable[[], bool]
    stopping: bool = False


_group: _Group | None = None


def rank() -> int:
    """The number of this process among those that work together, from 0."""
    return 0 if _group is None else _group.rank


def size() -> int:
    """How many processes work together."""
    return 1 if _group is None else _group.size


@contextmanager
def joined(place: Place, asks: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """While inside, this process works with others; ``asks()`` is true when it is asked to stop.

    Raises:
        ResourceError: one of them is gone.
    """
    global _group
    device = torch.device(place.device)
    with _lost_to_us():
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=PrefixStore(place.work, _store(place)),
            rank=place.rank,
            world_size=place.size,
            timeout=_SILENT,
        )
    _group = _Group(place.rank, place.size, device, asks)
    try:
        yield
    finally:
        _group = None
        # The others notice, if they still wait for this one.
        distributed.destroy_process_group()


def share(index: Tensor) -> Tensor:
    """This rank's share of particles ``index`` ``(b)``: every so many of them, or all where they are fewer than ranks.

    See :func:`counts` for how much each of these counts.
    """
    return index if size() == 1 or len(index) < size() else index[rank() :: size()]


def counts(mine: int, of: int) -> float:
    """The part of each of ``mine`` particles, a share of so many, in a sum over ranks: all have it where all do all."""
    return 1.0 / size() if mine == of else 1.0


def share_of_pairs(index: Tensor) -> Tensor:
    """A share of ``index`` ``(b)`` that takes the first with the second, the third with the fourth, and so on.

    Who is at an even place stays at one. It may be empty.
    """
    if size() == 1:
        return index
    return index[torch.arange(len(index), device=index.device) // 2 % size() == rank()]


def once(values: Tensor) -> Tensor:
    """What a sum over the ranks shall hold once, though each of them has it: zeros on all but the first."""
    return values if rank() == 0 else torch.zeros_like(values)


def summed(values: Tensor) -> Tensor:
    """The sum of ``values`` over the ranks, which all get.

    Raises:
        ResourceError: one of them is gone.
    """
    if _group is None:
        return values
    # Not in place: what is summed may be held by somebody, and be summed again.
    total = values.detach().to(_group.device, copy=True).contiguous()
    with _lost_to_us():
        distributed.all_reduce(torch.view_as_real(total) if total.is_complex() else total)
    return total.to(values.device)


def summed_in_place(values: Tensor) -> None:
    """The same where there is no room for both."""
    if _group is not None:
        with _lost_to_us():
            distributed.all_reduce(values)


def summed_together(values: Sequence[Tensor]) -> list[Tensor]:
    """The sums of several tensors by one exchange, each in double precision and then as it was.

    It also tells every rank whether one of them is asked to stop: see :func:`stopping`.
    """
    if _group is None:
        return list(values)
    asked = torch.tensor([float(_group.asks())])
    flat = summed(torch.cat([part.detach().flatten().to(_group.device, torch.float64) for part in (asked, *values)]))
    _group.stopping = bool(flat[0] > 0)
    parts = flat[1:].split([part.numel() for part in values])
    return [part.view(value.shape).to(value) for part, value in zip(parts, values, strict=True)]


def stopping(asked: bool) -> bool:
    """Whether to stop here, if this process is ``asked`` to: alone when it is, together when all know of it."""
    return asked if _group is None else _group.stopping


def rows(index: Tensor, found: Callable[[Tensor], T]) -> T:
    """What is ``found(index)`` for particles ``index`` ``(b)``, a row or some rows of tensors for each.

    Each rank finds the rows of its share, and all get all of them, in order.
    """
    mine = share(index)
    if len(mine) == len(index):
        return found(index)
    got = found(mine)
    parts = got if isinstance(got, tuple) else (got,)
    everyone = [part.new_zeros(len(index), *part.shape[1:]) for part in parts]
    for whole, part in zip(everyone, parts, strict=True):
        whole[rank() :: size()] = part
    sums = summed_together(everyone)
    return tuple(sums) if isinstance(got, tuple) else sums[0]


class Rows:
    """The rows of an update's particles: those of ``everyone`` ``(w)``, of which a rank has ``index`` ``(b)``, each
    with its count."""

    def __init__(self, everyone: Tensor, index: Tensor, counts: Tensor) -> None:
        self.everyone, self.index, self._counts = everyone, index, counts
        self._order = everyone.argsort()
        self._sorted = everyone[self._order]
        self._weights = torch.zeros(len(everyone), dtype=torch.float64, device=everyone.device)
        self._weights[self.places(index)] = counts.to(everyone.device)

    def places(self, index: Tensor) -> Tensor:
        """Where particles ``index`` ``(b)`` stand among everyone."""
        return self._order[torch.searchsorted(self._sorted, index.contiguous())]

    def counted(self, index: Tensor) -> Tensor:
        """How much particles ``index`` ``(b)`` count."""
        return self._weights[self.places(index)]

    def spread(self, index: Tensor, values: Tensor) -> Tensor:
        """Rows ``(b ...)`` of ``index`` ``(b)`` among those of everyone, as much as they count; the others are zero."""
        rows = values.new_zeros(len(self.everyone), *values.shape[1:])
        counts = self.counted(index).to(values).view(-1, *[1] * (values.dim() - 1))
        rows[self.places(index)] = values * counts
        return rows


class Gradients:
    """The gradients of ``parameters``, as tensors that ranks can add up.

    Of ``tables``, which have a row for each particle, they are the rows of an update's particles, weighed already.
    """

    def __init__(self, parameters: Sequence[Tensor], tables: Sequence[Tensor], rows: Rows) -> None:
        self.rows = rows
        self.parameters = parameters
        self.tables = {id(table) for table in tables}

    def values(self) -> list[Tensor]:
        """How many ranks have a gradient of each parameter, to be summed, and the gradients."""
        there = torch.tensor([float(value.grad is not None) for value in self.parameters])
        return [there, *map(self._gradient, self.parameters)]

    def _gradient(self, value: Tensor) -> Tensor:
        if id(value) not in self.tables:
            return torch.zeros_like(value) if value.grad is None else value.grad
        rows = value.new_zeros(len(self.rows.everyone), *value.shape[1:])
        if value.grad is not None:
            gradient = value.grad.coalesce()
            rows[self.rows.places(gradient.indices()[0])] = gradient.values()
        return rows

    def become(self, sums: list[Tensor]) -> None:
        """Put the sums of :meth:`values` in the place of the gradients."""
        there, *gradients = sums
        for known, value, gradient in zip(there.tolist(), self.parameters, gradients, strict=True):
            if known == 0.0:
                value.grad = None
            elif id(value) in self.tables:
                value.grad = torch.sparse_coo_tensor(
                    self.rows.everyone[None], gradient, value.shape, check_invariants=False
                )
            else:
                value.grad = gradient


def _store(place: Place) -> Store:
    host, _, port = place.meeting.rpartition(":")
    if host and port.isdigit():
        return TCPStore(host, int(port), is_master=False, timeout=_SILENT)
    return FileStore(place.meeting, -1)


@contextmanager
def _lost_to_us() -> Iterator[None]:
    """What the exchange says when another process ends in the middle of it, in plain words."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise ResourceError(
            "rank.gone", "a process that works on the same half ended or cannot be reached", found=_first_line(error),
            fix="resume the run, which goes on from its newest checkpoint",
        ) from error  # fmt: skip


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
