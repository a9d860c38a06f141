"""ChimeraX scripts and what they open, read as ChimeraX reads them."""

from __future__ import annotations

import shlex
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np


def commands(script: Path, verb: str) -> list[list[str]]:
    """The words of each command of a script that begins with ``verb``."""
    lines = script.read_text().splitlines()
    split = [shlex.split(line) for line in lines if not line.startswith("#")]
    return [words for words in split if words[: len(verb.split())] == verb.split()]


def opened(script: Path) -> list[list[str]]:
    """The names of the files of each model of a script, in the order of their numbers."""
    return [[word for word in words[1:] if Path(word).suffix] for words in commands(script, "open")]


def levels(script: Path) -> list[float]:
    """The level of each map or series of a script, in order."""
    return [float(words[words.index("level") + 1]) for words in commands(script, "volume")]


def value(words: list[str], option: str) -> str:
    """What follows an option in a command."""
    return words[words.index(option) + 1]


def arrows(bild: Path) -> np.ndarray:
    """Where the arrows of a .bild begin and end, ``(n 6)``."""
    lines = [line.split() for line in bild.read_text().splitlines()]
    return np.array([line[1:7] for line in lines if line[0] == ".arrow"], dtype=float)


def markers(cmm: Path) -> list[dict[str, str]]:
    """The markers of a .cmm in order; each as its attributes."""
    return [dict(marker.attrib) for marker in ElementTree.parse(cmm).getroot().iter("marker")]
