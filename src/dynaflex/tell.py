"""Telling whoever listens what is being done and how far it is. Nobody need be listening.

Work deep inside the program has news for the person in front of it: a warning, how many images are read. It tells them
here, by name, and a :class:`Listener` that stands further up (a terminal, a log, a front end) makes them seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

T = TypeVar("T")


class Listener(Protocol):
    """What can be told; see the functions of the same names."""

    def say(self, message: str) -> None: ...

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...

    def progress(self, task: str, done: float, total: float | None, figures: str = "") -> None: ...


_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """While inside, ``listener`` is told everything, after those that listened before."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)


@contextmanager
def unheard() -> Iterator[None]:
    """While inside, nobody is told anything, but who begins to listen there."""
    token = _listeners.set(())
    try:
        yield
    finally:
        _listeners.reset(token)


def say(message: str) -> None:
    """A line that a person should see."""
    for listener in _listeners.get():
        listener.say(message)


def note(message: str) -> None:
    """A line for a log: whoever sees :func:`progress` sees as much."""
    for listener in _listeners.get():
        listener.note(message)


def warn(message: str) -> None:
    """Something that is not as it should be, and does not stop the work."""
    for listener in _listeners.get():
        listener.warn(message)


def progress(task: str, done: float, total: float | None, figures: str = "") -> None:
    """The work ``task`` is ``done`` to that part of its ``total`` (None: nobody knows), with figures beside it."""
    for listener in _listeners.get():
        listener.progress(task, done, total, figures)


def each(items: Collection[T], task: str) -> Iterator[T]:
    """The items one by one, telling how many are done."""
    progress(task, 0, len(items))
    for number, item in enumerate(items, 1):
        yield item
        progress(task, number, len(items))


@contextmanager
def doing(task: str) -> Iterator[None]:
    """Work of unknown length, which is done when this is left."""
    progress(task, 0.0, None)
    yield
    progress(task, 1.0, 1.0)
