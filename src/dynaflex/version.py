"""Which version this is."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("dynaflex")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"
