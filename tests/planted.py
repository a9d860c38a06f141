"""Misreadings planted in a simulated data set, each with the reading that undoes it.

Nothing here uses the code that looks for them: tables are edited as text, stacks and maps as arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import affine_transform

from dynaflex.data.particles import read_particles
from dynaflex.imaging.ctf import transfer_function
from dynaflex.io.mrc import ImageStack, read_map, write_map, write_stack
from dynaflex.io.star import read_star, write_star

ORIGINS = ("rlnOriginXAngst", "rlnOriginYAngst")
ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")


@dataclass(frozen=True)
class Plant:
    """A mistake in the data set in a folder, and the name of the reading under which it is right again.

    No name: no reading helps.
    """

    make: Callable[[Path], None]
    reading: str | None


def table(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Replace the particle table by what ``change`` makes of it."""

    def make(folder: Path) -> None:
        star = read_star(folder / "particles.star")
        star.blocks["particles"] = change(star.blocks["particles"])
        write_star(star, folder / "particles.star")

    return make


def columns(change: Callable[..., tuple[np.ndarray, ...]], *names: str, to: tuple[str, ...] = ()) -> Any:
    """Replace columns of numbers, and name them ``to``."""

    def edit(frame: Any) -> Any:
        values = change(*(frame[name].to_numpy(dtype=float) for name in names))
        new = {name: [f"{v:.6f}" for v in column] for name, column in zip(names, values, strict=True)}
        return frame.assign(**new).rename(columns=dict(zip(names, to or names, strict=True)))

    return table(edit)


def stack(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Replace all images ``(p h h)``."""

    def make(folder: Path) -> None:
        images = read_images(folder)
        write_stack(folder / "particles.mrcs", np.ascontiguousarray(change(images)), pixel_size(folder))

    return make


def read_images(folder: Path) -> np.ndarray:
    images = ImageStack.open(folder / "particles.mrcs")
    return images.read(np.arange(images.n_images))


def pixel_size(folder: Path) -> float:
    return float(read_map(folder / "consensus.mrc").pixel_size or 0.0)


def volume(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Replace the map and the mask."""

    def make(folder: Path) -> None:
        for name in ("consensus.mrc", "mask.mrc"):
            old = read_map(folder / name)
            write_map(folder / name, np.ascontiguousarray(change(old.data)), float(old.pixel_size or 0.0))

    return make


def scaled(factor: float) -> Callable[[Path], None]:
    def change(data: np.ndarray) -> np.ndarray:
        middle = len(data) // 2
        return affine_transform(data, np.eye(3) / factor, middle - middle / factor, order=1).astype(np.float32)

    return volume(change)


def through_the_ctf(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    """Multiply the transforms of all images by what ``change`` makes of their CTFs."""

    def make(folder: Path) -> None:
        particles = read_particles(folder / "particles.star")
        factor = change(transfer_function(particles.ctf, particles.grid)).numpy()

        def multiply(images: np.ndarray) -> np.ndarray:
            box = images.shape[1]
            return np.fft.irfft2(np.fft.rfft2(images) * factor, s=(box, box)).astype(np.float32)

        stack(multiply)(folder)

    return make


def centred(folder: Path) -> None:
    """Move the particles to the middle of their images, but leave the table as it is."""
    particles = read_particles(folder / "particles.star")
    size = pixel_size(folder)

    def move(images: np.ndarray) -> np.ndarray:
        box = images.shape[1]
        x, y = (particles.pose.shift.numpy() / size).T[:, :, None, None]
        turns = np.fft.rfftfreq(box)[None, None, :] * x + np.fft.fftfreq(box)[None, :, None] * y
        return np.fft.irfft2(np.fft.rfft2(images) * np.exp(2j * np.pi * turns), s=(box, box)).astype(np.float32)

    stack(move)(folder)


def into_pixels(folder: Path) -> None:
    size = pixel_size(folder)
    columns(lambda x, y: (x / size, y / size), *ORIGINS)(folder)


def plant_copies(folder: Path, fraction: float, random: np.random.Generator) -> set[tuple[int, int]]:
    """Replace a ``fraction`` of the images of half 2 by copies of images of half 1; the rows of each pair.

    A copy is moved by up to an eighth of the box, rescaled, and lies in a stack of another name.
    """
    images, half = read_images(folder), read_particles(folder / "particles.star").half
    first, second = (np.flatnonzero(half == number) for number in (1, 2))
    count, box = round(fraction * len(second)), images.shape[1]
    furthest = box // 8
    pairs = set()
    for source, target in zip(random.choice(first, count, False), random.choice(second, count, False), strict=True):
        wide = random.normal(size=(box + 2 * furthest, box + 2 * furthest))
        wide[furthest:-furthest, furthest:-furthest] = images[source]
        x, y = random.integers(0, 2 * furthest + 1, 2)
        images[target] = random.uniform(0.2, 5.0) * wide[y : y + box, x : x + box] + random.normal()
        pairs.add((int(source), int(target)))
    write_stack(folder / "other.mrcs", images, pixel_size(folder))

    def renamed(frame: Any) -> Any:
        names = frame["rlnImageName"].str.replace("particles.mrcs", "other.mrcs")
        return frame.assign(rlnImageName=frame["rlnImageName"].where(frame["rlnRandomSubset"] == "1", names))

    table(renamed)(folder)
    return pairs


PLANTS = {
    "shift sign": Plant(columns(lambda x, y: (-x, -y), *ORIGINS), "shift sign flipped"),
    "shift in pixels, said to be Å": Plant(into_pixels, "shifts given as Å are pixels"),
    "shift in Å, said to be pixels": Plant(
        columns(lambda x, y: (x, y), *ORIGINS, to=("rlnOriginX", "rlnOriginY")), "shifts given as pixels are Å"
    ),
    "origin swapped": Plant(columns(lambda x, y: (y, x), *ORIGINS), "shift x and y swapped"),
    "images centred, shifts kept": Plant(centred, "shifts dropped"),
    "rotation transposed": Plant(columns(lambda r, t, p: (-p, -t, -r), *ANGLES), "rotation transposed"),
    "rot and psi swapped": Plant(columns(lambda r, t, p: (p, t, r), *ANGLES), "rot and psi swapped"),
    "rot sign": Plant(columns(lambda r: (-r,), "rlnAngleRot"), "rot sign flipped"),
    "tilt sign": Plant(columns(lambda t: (-t,), "rlnAngleTilt"), "tilt sign flipped, or map mirrored in z"),
    "psi sign": Plant(columns(lambda p: (-p,), "rlnAnglePsi"), "psi sign flipped"),
    "radians": Plant(columns(lambda *a: tuple(map(np.deg2rad, a)), *ANGLES), "angles are radians"),
    "contrast": Plant(stack(lambda images: -images), "contrast inverted"),
    "images upside down": Plant(stack(lambda images: images[:, ::-1]), "images upside down"),
    "images transposed": Plant(stack(lambda images: images.transpose(0, 2, 1)), "images transposed"),
    "rows one behind": Plant(stack(lambda images: np.roll(images, 1, axis=0)), "rows one image behind"),
    "hand": Plant(volume(lambda data: np.roll(data[:, :, ::-1], 1, axis=2)), "map mirrored in x"),
    "map 10 % larger": Plant(scaled(1 / 1.1), "map 10 % larger"),
    "map 3 % larger": Plant(scaled(1 / 1.03), "map 3 % larger"),
    "CTF sign": Plant(columns(lambda u, v: (-u, -v), "rlnDefocusU", "rlnDefocusV"), "defocus sign flipped"),
    "defocus in nm": Plant(
        columns(lambda u, v: (u / 10, v / 10), "rlnDefocusU", "rlnDefocusV"), "defocus 10 times larger"
    ),
    "images phase-flipped": Plant(through_the_ctf(torch.sign), "images phase-flipped"),
    "images multiplied by CTF": Plant(through_the_ctf(lambda ctf: ctf), "images multiplied by their CTF"),
    "voltage": Plant(
        lambda folder: (folder / "particles.star").write_text(
            (folder / "particles.star").read_text().replace("300.000000", "200.000000")
        )
        and None,
        "voltage 200 for 300 kV, or 300 for 200",
    ),
    "rows shuffled": Plant(
        stack(lambda images: images[np.random.default_rng(1).permutation(len(images))]), None
    ),
}  # fmt: skip
