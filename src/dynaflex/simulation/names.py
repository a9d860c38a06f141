"""The motions that a made-up molecule can have, by name."""

from __future__ import annotations

from typing import Literal

MotionName = Literal["hinge", "two-hinge", "touching", "five", "twist", "none"]
