"""Other programs' latents and maps of the same particles, scored as a run is: by their files, whatever made them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynaflex import tell
from dynaflex.errors import InputError
from dynaflex.io.latent_file import read_latents
from dynaflex.io.mrc import read_map
from dynaflex.judge.scene import SimulatedScene
from dynaflex.judge.scoring import area_summary, areas_of, scores_of_latents
from dynaflex.shapes import IntArray

ROWS = "rows.txt"
"""The rows of the particles that the maps of a folder are of, one a line, from 0."""
_EPOCH = re.compile(r"z\.(\d+)\.pkl")
_PIECE = re.compile(r"(\D*)(\d*)")


def peer_scores(scene: SimulatedScene, latents: list[Path], volumes: list[Path]) -> dict[str, dict[str, Any]]:
    """What the latents in files or folders and the maps in folders score, by their paths as given.

    Raises:
        InputError: the latents or maps are not found, cannot be read, or are not of these particles.
    """
    scores: dict[str, dict[str, Any]] = {}
    for path in latents:
        with tell.doing(f"latents in {path}"):
            found = read_latents(latents_in(path), len(scene.coordinate)).numpy()
            scores[str(path)] = scores_of_latents(found, scene.coordinate) if scene.moving else {}
    for path in volumes:
        scores[str(path)] = {**scores.get(str(path), {}), "fsc_area_per_image": volume_scores(scene, path)}
    return scores


def latents_in(path: Path) -> Path:
    """The file with the latents: the one given, or in a folder the latest ``z.N.pkl`` or the ``z.pkl`` of cryoDRGN, or
    the one ``model/zdim_K/latent_coords.npy`` of RECOVAR.

    Raises:
        InputError: there is none, or more than one.
    """
    if not path.is_dir():
        return path
    epochs = {int(match[1]): file for file in path.iterdir() if (match := _EPOCH.fullmatch(file.name))}
    if epochs:
        return epochs[max(epochs)]
    found = [file for file in (path / "z.pkl", *sorted(path.glob("model/zdim_*/latent_coords.npy"))) if file.is_file()]
    if len(found) == 1:
        return found[0]
    raise InputError(
        "score.which-latents", "it is not clear which latents to score", file=path,
        expected="cryoDRGN's z.N.pkl, or one model/zdim_K/latent_coords.npy of RECOVAR",
        found=", ".join(str(file.relative_to(path)) for file in found) or "neither",
        fix="give the file itself",
    )  # fmt: skip


def volume_scores(scene: SimulatedScene, folder: Path) -> dict[str, float]:
    """The area under the FSC curve between each map of a folder, in the order of the numbers in their names, and the
    true map of its particle; see :func:`area_summary`.

    Their particles are in ``rows.txt``. Without it they are those that CryoBench takes: every N/n-th of N, where n maps
    were asked for.

    Raises:
        InputError: there are no maps, they have another box, or the rows are not of these particles.
    """
    files = sorted(folder.glob("*.mrc"), key=_by_number)
    if not files:
        raise InputError("score.no-volumes", "there are no maps in this folder", file=folder, expected="*.mrc")
    rows = _rows_of(folder, len(files), len(scene.coordinate))
    areas = []
    for file, row in zip(tell.each(files, f"maps in {folder}"), rows, strict=True):
        volume = torch.from_numpy(read_map(file).data)
        if volume.shape[0] != scene.grid.box:
            raise InputError(
                "score.other-box", "this map is not on the voxels of the images", file=file,
                expected=f"a box of {scene.grid.box}", found=f"a box of {volume.shape[0]}",
                fix="make the maps of images that were not downsampled, or score against truth of the same box",
            )  # fmt: skip
        areas.append(areas_of(scene, volume, row))
    return area_summary(areas, scene.grid.box)


def _by_number(file: Path) -> list[tuple[str, int]]:
    """Sorts ``vol_1000.mrc`` after ``vol_101.mrc``."""
    return [(word, int(number or -1)) for word, number in _PIECE.findall(file.name)]


def _rows_of(folder: Path, maps: int, particles: int) -> IntArray:
    if not (folder / ROWS).is_file():
        return np.arange(0, particles, _step(maps, particles))[:maps] if maps <= particles else _refuse(folder, maps)
    words = (folder / ROWS).read_text(encoding="utf-8", errors="replace").split()
    rows = np.array([int(word) if word.isascii() and word.isdigit() else -1 for word in words], dtype=np.int64)
    if len(rows) != maps or (rows < 0).any() or (rows >= particles).any():
        return _refuse(folder / ROWS, maps)
    return rows


def _step(maps: int, particles: int) -> int:
    """CryoBench asks for n maps and takes every N/n-th particle to the end, which may be more than n."""
    asked = (n for n in range(maps, 0, -1) if len(range(0, particles, particles // n)) == maps)
    return particles // next(asked, maps)


def _refuse(file: Path, maps: int) -> IntArray:
    raise InputError(
        "score.rows", "it is not clear which particles these maps are of", file=file,
        expected=f"{maps} rows of the particle table, from 0, one for each map",
        fix=f"write {ROWS} into the folder of the maps",
    )  # fmt: skip
