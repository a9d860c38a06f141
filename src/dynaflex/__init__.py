"""dynaflex: how a protein moves, learned from cryo-EM images, and the maps that the motion sharpens."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("dynaflex")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
