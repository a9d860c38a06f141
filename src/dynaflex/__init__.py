"""dynaflex: how a protein moves, learned from cryo-EM images, and the maps that the motion sharpens."""

from dynaflex.version import __version__

__all__ = ["__version__"]
