"""The other ways in which a particle table, its images and a map are read by mistake."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch

from dynaflex import fourier
from dynaflex.checking.readings import Reading, Stated
from dynaflex.imaging.ctf import CtfParams, transfer_function
from dynaflex.rotations import euler_to_matrix
from dynaflex.shapes import Tensor

_ORIGINS = "rlnOriginXAngst and rlnOriginYAngst"
_ANGLES = "rlnAngleRot, rlnAngleTilt and rlnAnglePsi"
_DEFOCUS = "rlnDefocusU and rlnDefocusV"
_MULTIPLIED = "rlnCtfDataAreCtfPremultiplied"
_STRETCHES = (0.9, 0.97, 1.03, 1.1)
_DEGREE = math.pi / 180.0


def misreadings() -> list[Reading]:
    """Every other reading that images can tell from the right one, on some data at least.

    The absolute hand is not among them: a map and poses that are both mirrored predict the same images.
    """
    return [*_of_shifts(), *_of_rotations(), *_of_images(), *_of_the_map(), *_of_what_ctfs_did(), *_of_the_ctf()]


def _of_shifts() -> Iterable[Reading]:
    def reading(name: str, remedy: str, shift: Callable[[Stated], Tensor]) -> Reading:
        return Reading(name, remedy, lambda stated: replace(stated, shift=shift(stated)))

    def signs(x: float, y: float) -> Callable[[Stated], Tensor]:
        return lambda stated: stated.shift * stated.shift.new_tensor([x, y])

    yield reading("shift sign flipped", f"multiply {_ORIGINS} by -1", signs(-1.0, -1.0))
    yield reading("shift sign flipped in x", "multiply rlnOriginXAngst by -1", signs(-1.0, 1.0))
    yield reading("shift sign flipped in y", "multiply rlnOriginYAngst by -1", signs(1.0, -1.0))
    yield reading("shifts dropped", f"set {_ORIGINS} to 0: these images are centred", signs(0.0, 0.0))
    yield reading("shift x and y swapped", f"exchange {_ORIGINS}", lambda stated: stated.shift.flip(1))
    yield reading(
        "shifts given as Å are pixels",
        f"multiply {_ORIGINS} by the pixel size, or name the columns rlnOriginX and rlnOriginY",
        lambda stated: stated.shift * stated.pixel_size,
    )
    yield reading(
        "shifts given as pixels are Å",
        f"divide {_ORIGINS} by the pixel size, or rename rlnOriginX and rlnOriginY to {_ORIGINS}",
        lambda stated: stated.shift / stated.pixel_size,
    )
    yield reading("shifts twice as large", f"multiply {_ORIGINS} by 2: another pixel size was meant", signs(2.0, 2.0))
    yield reading("shifts half as large", f"divide {_ORIGINS} by 2: another pixel size was meant", signs(0.5, 0.5))


def _of_rotations() -> Iterable[Reading]:
    def reading(name: str, remedy: str, euler: Callable[[Tensor], Tensor]) -> Reading:
        return Reading(name, remedy, lambda stated: replace(stated, rotation=euler_to_matrix(euler(stated.euler))))

    def signs(*factors: float) -> Callable[[Tensor], Tensor]:
        return lambda euler: euler * euler.new_tensor(factors)

    yield Reading(
        "rotation transposed",
        "exchange rlnAngleRot and rlnAnglePsi and multiply all three angles by -1",
        lambda stated: replace(stated, rotation=stated.rotation.transpose(1, 2)),
    )
    yield reading("rot sign flipped", "multiply rlnAngleRot by -1", signs(-1.0, 1.0, 1.0))
    # To turn the other way about y is to see the map mirrored in z from behind: one reading with two causes.
    yield reading(
        "tilt sign flipped, or map mirrored in z",
        "multiply rlnAngleTilt by -1, or mirror the map in z",
        signs(1.0, -1.0, 1.0),
    )
    yield reading("psi sign flipped", "multiply rlnAnglePsi by -1", signs(1.0, 1.0, -1.0))
    yield reading("rot and psi swapped", "exchange rlnAngleRot and rlnAnglePsi", lambda euler: euler.flip(1))
    yield reading("angles are radians", f"multiply {_ANGLES} by 57.29578", lambda euler: euler / _DEGREE)
    yield reading("psi off by 180 degrees", "add 180 to rlnAnglePsi", lambda e: e + e.new_tensor([0.0, 0.0, math.pi]))
    yield reading(
        "angles turn about z, x, z",
        "subtract 90 from rlnAngleRot and add 90 to rlnAnglePsi",
        lambda euler: euler + euler.new_tensor([-0.5 * math.pi, 0.0, 0.5 * math.pi]),
    )


def _of_images() -> Iterable[Reading]:
    def reading(name: str, remedy: str, images: Callable[[Stated], Tensor]) -> Reading:
        return Reading(name, remedy, lambda stated: replace(stated, images=images(stated)))

    again = "extract the particles again, or turn the stack"
    yield reading("images upside down", f"{again} upside down", _upside_down)
    yield reading("images mirrored in x", f"{again} round in x", lambda stated: _mirrored(stated, 0))
    yield reading("images transposed", f"{again} so that x is y", _transposed)
    yield reading("images turned by 180 degrees", f"{again} by 180 degrees", lambda stated: stated.images.conj())
    yield reading("image origin in the corner", "move the origin of the images to their centre", _from_the_corner)
    yield reading(
        "rows one image behind",
        "add 1 to the numbers in rlnImageName: they count from 0",
        lambda stated: stated.after,
    )
    yield reading("rows one image ahead", "subtract 1 from the numbers in rlnImageName", lambda stated: stated.before)


def _mirrored(stated: Stated, axis: int) -> Tensor:
    """The images as a file with one axis stored backwards has them: mirrored about the point between the middle
    samples, which lies half a pixel from the origin."""
    about_origin = stated.images.flip(1).roll(1, dims=1)
    if axis == 0:
        about_origin = about_origin.conj()
    move = stated.shift.new_zeros(1, 2)
    move[0, axis] = -stated.pixel_size
    return fourier.shift(about_origin, stated.grid, move)


def _upside_down(stated: Stated) -> Tensor:
    return _mirrored(stated, 1)


def _transposed(stated: Stated) -> Tensor:
    return fourier.transform(fourier.inverse_transform(stated.images, 2).transpose(1, 2), 2)


def _from_the_corner(stated: Stated) -> Tensor:
    half = stated.shift.new_full((1, 2), 0.5 * stated.grid.width)
    return fourier.shift(stated.images, stated.grid, half)


def _of_the_map() -> Iterable[Reading]:
    def reading(name: str, remedy: str, matrix: list[list[float]]) -> Reading:
        # To mirror the map is to mirror the directions in which it is looked up.
        return Reading(name, remedy, lambda s: replace(s, rotation=s.rotation @ s.rotation.new_tensor(matrix)))

    def stretched(factor: float) -> Reading:
        size = f"{abs(100.0 * (factor - 1.0)):.0f} %"
        return Reading(
            f"map {size} {'larger' if factor > 1.0 else 'smaller'}",
            f"rescale the map by {factor:g}, or correct its pixel size or that of the particles",
            lambda stated: replace(stated, stretch=stated.stretch * factor),
        )

    hand = "mirror the map in x (relion_image_handler --invert_hand)"
    yield reading("map mirrored in x", hand, [[-1, 0, 0], [0, 1, 0], [0, 0, 1]])
    yield reading("map mirrored in y", "mirror the map in y", [[1, 0, 0], [0, -1, 0], [0, 0, 1]])
    yield reading("map axes in the order z, y, x", "reverse the axes of the map", [[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    yield from map(stretched, _STRETCHES)


def _of_what_ctfs_did() -> Iterable[Reading]:
    def transferred(name: str, remedy: str, change: Callable[[Tensor], Tensor]) -> Reading:
        return Reading(name, remedy, lambda stated: replace(stated, transfer=change(stated.transfer)))

    raw = "extract them without CTF correction"

    def say(column: str, number: int) -> str:
        return f"{raw}, or give {column} {number} where it is {1 - number}"

    yield transferred("CTF not in the images", f"the images show no CTF: {say(_MULTIPLIED, 0)}", torch.ones_like)
    yield transferred(
        "images phase-flipped", f"the images are phase-flipped: {raw}, or correct rlnCtfDataArePhaseFlipped", torch.abs
    )
    yield transferred(
        "images multiplied by their CTF",
        f"the images are multiplied by their CTF: {say(_MULTIPLIED, 1)}",
        lambda transfer: (transfer * transfer.conj()).real,
    )


def _of_the_ctf() -> Iterable[Reading]:
    def reading(name: str, remedy: str, change: Callable[[CtfParams], CtfParams]) -> Reading:
        def changed(stated: Stated) -> Stated:
            ctf = change(stated.ctf)
            return replace(stated, ctf=ctf, transfer=transfer_function(ctf, stated.grid))

        return Reading(name, remedy, changed)

    def defocus(factor: float) -> Callable[[CtfParams], CtfParams]:
        return lambda ctf: replace(ctf, defocus_u=factor * ctf.defocus_u, defocus_v=factor * ctf.defocus_v)

    yield reading("defocus sign flipped", f"multiply {_DEFOCUS} by -1", defocus(-1.0))
    yield reading("defocus 10 times larger", f"multiply {_DEFOCUS} by 10: they are in nm", defocus(10.0))
    yield reading("defocus 10 times smaller", f"divide {_DEFOCUS} by 10", defocus(0.1))
    yield reading("defocus 10000 times larger", f"multiply {_DEFOCUS} by 10000: they are in µm", defocus(1e4))
    yield reading(
        "defocus U and V swapped",
        f"exchange {_DEFOCUS}",
        lambda ctf: replace(ctf, defocus_u=ctf.defocus_v, defocus_v=ctf.defocus_u),
    )
    yield reading(
        "defocus angle sign flipped",
        "multiply rlnDefocusAngle by -1",
        lambda ctf: replace(ctf, defocus_angle=-ctf.defocus_angle),
    )
    yield reading(
        "defocus angle is radians",
        "multiply rlnDefocusAngle by 57.29578",
        lambda ctf: replace(ctf, defocus_angle=ctf.defocus_angle / _DEGREE),
    )
    yield reading(
        "phase shift is radians",
        "multiply rlnPhaseShift by 57.29578",
        lambda ctf: replace(ctf, phase_shift=ctf.phase_shift / _DEGREE),
    )
    yield reading(
        "voltage 200 for 300 kV, or 300 for 200",
        "correct rlnVoltage",
        lambda ctf: replace(ctf, voltage_kv=torch.where(ctf.voltage_kv > 250.0, 200.0, 300.0).to(ctf.voltage_kv)),
    )
