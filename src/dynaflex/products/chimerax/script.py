"""Scripts of ChimeraX, .cxc, written line by line in one place, whoever shows what.

ChimeraX runs a script in the folder that it lies in: names in it are relative, and a folder can go anywhere. Where a
map lies, its header says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dynaflex.io import durable
from dynaflex.io.mrc import read_map
from dynaflex.palettes import SCALES

SCRIPT = "volumes.cxc"
_KEY = "pos 0.70,0.08 size 0.25,0.03"
_KEY_TITLE = "xpos 0.70 ypos 0.12 size 16 color black"


@dataclass(frozen=True)
class Played:
    """Maps of one grid and grey scale by name, which play as a series, all at one ``level`` and in one ``colour``."""

    names: Sequence[str]
    level: float
    colour: str


class Script:
    """Commands in order. What is opened has the numbers 1, 2, 3 ... as a model: nothing else is open."""

    def __init__(self) -> None:
        self._lines = ["close session", "set bgColor white", "lighting soft", "graphics silhouettes true"]
        self._models = 0

    def say(self, words: str) -> None:
        """A remark for who reads the script."""
        self._lines.append(f"# {words}")

    def do(self, *commands: str) -> None:
        """Commands as they are."""
        self._lines += commands

    def open(self, name: str, how: str = "") -> int:
        """Open a file beside the script; the number of its model."""
        return self._opened([name], how)

    def open_map(self, name: str, level: float, colour: str) -> int:
        """Open a map and show its surface; the number of its model."""
        return self._surface(self._opened([name]), level, colour)

    def open_series(self, played: Played) -> int:
        """Open maps as one model that shows one of them at a time; its number.

        ChimeraX hands level, colour and origin on from map to map as they play: a series has but one of each.
        """
        return self._surface(self._opened(played.names, "vseries true"), played.level, played.colour)

    def open_atoms(self, name: str) -> int:
        """Open an atomic model in many conformations and play them to and fro; the number of its model."""
        model = self._opened([name], "coordsets true")
        self.do(f"hide #{model} atoms", f"cartoon #{model}", f"coordset #{model} 1, loop 100 bounce true pauseFrames 5")
        return model

    def colour_by(self, surface: int, name: str, scale: str, limits: tuple[float, float]) -> int:
        """Open a map of values, unseen, and colour a surface by it along a scale between two limits; its number."""
        model = self._opened([name])
        low, high = limits
        self.do(
            f"hide #{model} models",
            f"color sample #{surface} map #{model} palette {':'.join(SCALES[scale])} range {low:.6g},{high:.6g}",
        )
        return model

    def key(self, scale: str, limits: tuple[float, float], title: str) -> None:
        """Show what the colours of a scale between two limits mean."""
        values = np.linspace(*limits, len(SCALES[scale]))
        pairs = " ".join(f"{colour}:{value:.3g}" for colour, value in zip(SCALES[scale], values, strict=True))
        self.do(f"key {pairs} {_KEY}", f'2dlabels text "{title}" {_KEY_TITLE}')

    def text(self) -> str:
        """The script."""
        return "\n".join(self._lines) + "\n"

    def write(self, path: Path) -> None:
        """Write the script."""
        durable.write_text(path, self.text())

    def _surface(self, model: int, level: float, colour: str) -> int:
        self.do(
            f"volume #{model} style surface step 1 level {level:.6g} color {colour}", f"surface dust #{model} size 10"
        )
        return model

    def _opened(self, names: Sequence[str], how: str = "") -> int:
        self._models += 1
        self.do(" ".join(["open", *(f'"{name}"' for name in names), *([how] if how else [])]))
        return self._models


def side_by_side(folder: Path, series: Sequence[Played]) -> tuple[Script, str]:
    """A script beside series of maps that opens them next to each other, and the command that plays them in step."""
    first = read_map(folder / series[0].names[0])
    width = first.box * (first.pixel_size or 1.0)
    script = Script()
    models = [script.open_series(played) for played in series]
    for place, model in enumerate(models[1:], 1):
        script.do(f"move x {place * width:.6g} models #{model}")
    return script, play(models)


def play(models: Sequence[int]) -> str:
    """The command that plays series to and fro, in step, until it is stopped."""
    return f"vseries play #{','.join(map(str, models))} direction oscillate loop true maxFrameRate 12"


def write_script(folder: Path, series: Sequence[Played]) -> None:
    """A script beside series of maps that plays them side by side."""
    script, playing = side_by_side(folder, series)
    script.do("view", playing)
    script.write(folder / SCRIPT)
