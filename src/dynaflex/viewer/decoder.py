"""One half's model, held in memory so that a conformation is on the screen before the hand has moved on."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from dynaflex.pipelines.predict import TrainedHalf, config_of, load_half
from dynaflex.pipelines.volumes import map_at_rest
from dynaflex.run.directory import Run
from dynaflex.shapes import FloatArray, Tensor
from dynaflex.viewer.colourings import DISPLACEMENT, ColourMaps, Range
from dynaflex.viewer.followers import Followers
from dynaflex.viewer.parts import Parts, spread_over
from dynaflex.viewer.window import Molecule, Window

SIZES = {"fine": 96, "coarse": 48}
"""The most voxels a side: at rest, and while the hand moves."""
_SAMPLED, _FEW_POINTS = 48, 512


@dataclass(frozen=True)
class Conformation:
    """Density ``(d d d)`` ``[z, y, x]`` in the ``window``, and a quantity in Å of the same shape, if asked for."""

    density: FloatArray
    quantity: FloatArray | None
    window: Window


class Decoder:
    """A half's map, carried by its model to any latents."""

    def __init__(self, run: Run, half: int) -> None:
        self.trained = load_half(run, half)
        volume, full = map_at_rest(run, self.trained)
        molecule = Molecule.of(volume, full, max(config_of(run).shared_resolution, 4 * full.pixel_size))
        self.level = molecule.level(volume)
        inside = (molecule.weight.flatten() > 0).nonzero()[:, 0]
        few = full.points()[inside[:: max(len(inside) // _FEW_POINTS, 1)]]
        latents = self.trained.latents.mean
        moved = self.trained.displacements(latents[:: max(len(latents) // _SAMPLED, 1)], few)
        corners = torch.stack([full.points()[inside].amin(dim=0), full.points()[inside].amax(dim=0)])
        self.window = Window.around(torch.cat([corners, (few + moved).flatten(0, 1)]), full, SIZES["fine"])
        self.molecule = molecule
        self.side = seen_across(moved, few)
        self.largest = float(moved.norm(dim=2).flatten().kthvalue(max(int(0.99 * moved[..., 0].numel()), 1)).values)
        self.colours = ColourMaps(run)
        self.carriers = {
            name: Carrier(volume * molecule.weight, molecule, self.window.coarser(box), self.trained)
            for name, box in SIZES.items()
        }
        self._spacing = 2 * self.window.grid.pixel_size
        self._lock = threading.Lock()

    def conformation(self, latents: FloatArray, size: str, quantity: str | None = DISPLACEMENT) -> Conformation:
        """The map in the conformation ``latents`` ``(k)``, on the ``fine`` or the ``coarse`` grid.

        ``quantity`` is what comes with it: the displacement from rest, or a map of ``colours``, which moves along.

        Raises:
            KeyError: there is no such quantity.
        """
        carrier = self.carriers[size]
        at_rest = None if quantity in (None, DISPLACEMENT) else self.colours.within(quantity, carrier.window)
        with self._lock:
            return carrier.carried(_latents(latents), quantity == DISPLACEMENT, at_rest)

    def range_of(self, quantity: str) -> Range:
        """The range of a quantity over the molecule, the same in all conformations."""
        if quantity == DISPLACEMENT:
            largest = max(self.largest, 1e-3)
            return Range(quantity, 0.0, largest, 0.0, 2.0 * largest)
        carrier = self.carriers["fine"]
        values = self.colours.within(quantity, carrier.window).reshape(-1)[carrier.voxels.numpy()]
        return Range.of(quantity, values[carrier.values.numpy() > self.level])

    @cached_property
    def arrows(self) -> Followers:
        """Points evenly over the surface of the molecule at rest, to show the motion of."""
        carrier = self.carriers["coarse"]
        density = np.zeros(carrier.window.grid.box**3, dtype=np.float32)
        density[carrier.voxels.numpy()] = carrier.values.numpy()
        box = (carrier.window.grid.box,) * 3
        points = spread_over(density.reshape(box), self.level, carrier.window.points().numpy())
        return Followers(self.trained, torch.from_numpy(points), self._spacing)

    @cached_property
    def parts(self) -> Parts | None:
        """The Gaussians or the mesh."""
        return Parts.of(self.trained, self._spacing)

    def arrows_to(self, latents: FloatArray) -> FloatArray:
        """Where arrows begin and how far they go in the conformation ``latents`` ``(k)``: x, y, z twice, ``(n 6)``."""
        return torch.cat([self.arrows.points, self.arrows.moves(_latents(latents))], dim=1).numpy()

    def parts_at(self, latents: FloatArray) -> FloatArray:
        """Where the Gaussians or vertices are in the conformation ``latents`` ``(k)``, ``(n 3)`` in Å.

        Raises:
            KeyError: the model has neither.
        """
        if self.parts is None:
            raise KeyError("parts")
        return self.parts.places(_latents(latents))

    def at_parts(self, quantity: str) -> FloatArray:
        """What a map of ``colours`` says where each of the parts rests, ``(n)`` in Å."""
        assert self.parts is not None
        values = self.colours.within(quantity, self.window)
        return self.window.read(values, self.parts.rest)


class Carrier:
    """The ``voxels`` of the molecule in a window, with all that can be known about them before the latents are."""

    def __init__(self, density: Tensor, molecule: Molecule, window: Window, trained: TrainedHalf) -> None:
        self.window = window
        inside = window.sampled(molecule.weight.numpy()).reshape(-1) > 0
        self.voxels = torch.from_numpy(np.flatnonzero(inside))
        self.values = window.cut(density).reshape(-1)[self.voxels]
        self.points = window.points()[self.voxels]
        self.moving = Followers(trained, self.points, 2 * window.grid.pixel_size)
        # Where dense and thin material meet, a quantity is that of the dense; a little weighs what is not dense at all.
        self._weight = self.values.clamp(min=0.0) + 1e-3 * self.values.max()

    def carried(self, latents: Tensor, with_displacement: bool, at_rest: FloatArray | None) -> Conformation:
        """Each voxel spread linearly over the eight around its destination, as in :func:`convect`.

        The displacement, or else the quantity that is ``at_rest`` ``(d d d)``, goes along.
        """
        grid = self.window.grid
        moves = self.moving.moves(latents)
        position = (self.points + moves - self.window.center) / grid.pixel_size + grid.center
        corner = position.floor()
        kept = ((corner >= 0) & (corner < grid.box - 1)).all(dim=1)
        corner, fraction = corner[kept].long(), (position - corner)[kept]
        columns = [torch.ones_like(self.values), self.values]
        if with_displacement:
            columns += [self._weight, self._weight * moves.norm(dim=1)]
        elif at_rest is not None:
            columns += [self._weight, self._weight * torch.from_numpy(at_rest).reshape(-1)[self.voxels]]
        content = torch.stack(columns, dim=1)[kept]
        start = (corner[:, 2] * grid.box + corner[:, 1]) * grid.box + corner[:, 0]
        sides = torch.stack([1.0 - fraction, fraction], dim=1)
        arrived = content.new_zeros(grid.box**3, len(columns))
        for offset in range(8):
            x, y, z = offset & 1, offset >> 1 & 1, offset >> 2
            share = sides[:, x, 0] * sides[:, y, 1] * sides[:, z, 2]
            arrived.index_add_(0, start + (z * grid.box + y) * grid.box + x, content * share[:, None])
        share, box = arrived[:, 0], (grid.box,) * 3
        density = torch.where(share > 1e-3, arrived[:, 1] / share.clamp(min=1e-3), 0.0).view(box).numpy()
        if len(columns) == 2:
            return Conformation(density, None, self.window)
        weight = arrived[:, 2]
        quantity = torch.where(weight > 0, arrived[:, 3] / weight.clamp(min=1e-12), 0.0).view(box).numpy()
        return Conformation(density, quantity, self.window)


def _latents(values: FloatArray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def seen_across(moved: Tensor, points: Tensor) -> list[float]:
    """The rows right, up and towards the eye of a camera across the motion ``(f n 3)`` of ``points`` ``(n 3)``.

    It looks along the thinnest direction that does not hide the main motion; up is the longest that is left.
    """
    motion = (moved - moved.mean(dim=0)).flatten(0, 1).double()
    main = torch.linalg.eigh(motion.T @ motion)[1][:, -1]
    shape = torch.cov(points.double().T)
    across = torch.eye(3, dtype=torch.float64) - torch.outer(main, main)
    # Directions along the motion are made the longest of all, so that the thinnest lies across it.
    thinnest = across @ shape @ across + torch.outer(main, main) * (1.0 + shape.trace())
    eye = torch.linalg.eigh(thinnest)[1][:, 0]
    upright = torch.eye(3, dtype=torch.float64) - torch.outer(eye, eye)
    up = torch.linalg.eigh(upright @ shape @ upright)[1][:, -1]
    return [float(value) for value in torch.stack([torch.linalg.cross(up, eye), up, eye]).flatten()]
