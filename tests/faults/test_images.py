"""Rows M of the list that need the values of images: those that were masked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from dynaflex.data.particles import read_particles
from dynaflex.errors import InputError
from dynaflex.io.mrc import ImageStack, write_stack
from dynaflex.prepare.images import Imaging
from faults.harness import Command, Fault, Toy, prove

BOX, PIXEL = 32, 6.0
DISC = np.hypot(*(np.indices((BOX, BOX)) - BOX // 2)) < 13


def mask_images(toy: Toy, numbers: Sequence[int] | slice) -> None:
    """Set images of the stack, counted from 0, to 0 outside a circle."""
    stack = ImageStack.open(toy.stack)
    images = stack.read(np.arange(stack.n_images))
    images[numbers] *= DISC
    write_stack(toy.stack, images, PIXEL)


def all_masked(toy: Toy) -> list[object]:
    mask_images(toy, slice(None))
    return toy.check()


def two_masked(toy: Toy) -> list[object]:
    mask_images(toy, [77, 41])
    return toy.train()


FAULTS = [
    Fault("M-13", "masked images to check", all_masked, 3,
          ("particles.mrcs", "image 1 is constant outside a circle", "120 of 120 images")),
    Fault("M-13", "two masked images to train on", two_masked, 3,
          ("particles.mrcs", "image 42 is constant outside a circle", "found particle row 41 of")),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.row}-{fault.given}")
def test_fault(fault: Fault, toy: Toy, command: Command) -> None:
    prove(fault, toy, command)


def test_M_13_a_training_names_the_image_too(toy: Toy) -> None:
    """As when it is resumed, and images are not looked at before."""
    mask_images(toy, [41])
    particles = read_particles(toy.particles).take(np.arange(30, 60))
    imaging = Imaging(particles.grid, 170.0, 6.0)
    with pytest.raises(InputError) as caught:
        imaging.normalise(particles, torch.arange(8, 16))
    assert caught.value.file == toy.stack
    assert "image 42 has the same value" in str(caught.value)
    assert caught.value.found == f"particle row 41 of {toy.particles}"
