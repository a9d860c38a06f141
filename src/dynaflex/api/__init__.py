"""The door for Python: what ``import dynaflex as df`` gives, each a thin function on what the commands call too.

Nothing that takes long is imported before it is asked for.
"""

from dynaflex.api.files import Fsc, check, fsc, read_map, read_particles, simulate, write_map
from dynaflex.api.maps import Maps
from dynaflex.api.runs import Run, open
from dynaflex.api.training import resume, train

__all__ = [
    "Fsc",
    "Maps",
    "Run",
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
