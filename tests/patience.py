"""Waiting for what happens on a page, however busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Ask again and again until it holds; a test that would look once fails on a machine that is slow."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.05)
