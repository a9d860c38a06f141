"""The files that a run is made from, as the user names them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dynaflex.io.paths import absolute

_SINGLE = ("mask", "atoms", "mesh", "stationary", "latents", "datadir")


@dataclass(frozen=True)
class InputPaths:
    """The files a user names. ``atoms`` is for DynaMight; ``mesh``, ``stationary`` and ``latents`` are for 3DFlex.

    Images are looked for in ``datadir``, under their names without ``strip_prefix``.
    """

    particles: Path
    consensus: Path
    mask: Path | None = None
    half_maps: tuple[Path, Path] | None = None
    atoms: Path | None = None
    mesh: Path | None = None
    stationary: Path | None = None
    latents: Path | None = None
    datadir: Path | None = None
    strip_prefix: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Absolute paths as strings, for ``provenance.json``."""
        plain: dict[str, Any] = {"strip_prefix": self.strip_prefix}
        for name, value in asdict(self).items():
            if name in plain:
                continue
            paths = value if isinstance(value, tuple) else (value,)
            whole = [None if path is None else str(absolute(path)) for path in paths]
            plain[name] = whole if isinstance(value, tuple) else whole[0]
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> InputPaths:
        """Undo :meth:`as_dict`."""
        half_maps = plain.get("half_maps")
        single = {name: None if plain.get(name) is None else Path(plain[name]) for name in _SINGLE}
        return cls(
            Path(plain["particles"]),
            Path(plain["consensus"]),
            strip_prefix=plain.get("strip_prefix"),
            half_maps=None if half_maps is None else (Path(half_maps[0]), Path(half_maps[1])),
            **single,
        )
