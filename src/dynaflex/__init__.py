"""dynaflex: how a protein moves, learned from cryo-EM images, and the maps that the motion sharpens.

    import dynaflex as df

    run = df.train("dynamight", "particles.star", "consensus.mrc", mask="mask.mrc", out="run")
    run.latents.mean, run.maps["map"].data, run.conformation(run.along(axis=1)[-1]).data

Nothing that takes long is loaded before it is asked for. ``docs/api.md`` has all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dynaflex.version import __version__

if TYPE_CHECKING:
    from dynaflex.api import (
        Fsc,
        Maps,
        Run,
        check,
        fsc,
        open,
        read_map,
        read_particles,
        resume,
        simulate,
        train,
        write_map,
    )
else:

    def __getattr__(name: str) -> Any:
        """What the door opens, when it is asked for first."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module("dynaflex.api"), name)


__all__ = [
    "Fsc",
    "Maps",
    "Run",
    "__version__",
    "check",
    "fsc",
    "open",
    "read_map",
    "read_particles",
    "resume",
    "simulate",
    "train",
    "write_map",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
