"""One half's model, held in memory so that a conformation is on the screen before the hand has moved on."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from dynaflex.analyze.domains import camera_across
from dynaflex.deformation.base import Moves
from dynaflex.reconstruct.carry import CarriedMap
from dynaflex.results.trained import TrainedHalf
from dynaflex.results.volumes import coarse, map_at_rest
from dynaflex.run.directory import Run
from dynaflex.shapes import FloatArray, Tensor
from dynaflex.viewer.density.colourings import DISPLACEMENT, ColourMaps, Range
from dynaflex.viewer.density.parts import Parts, spread_over
from dynaflex.viewer.density.window import Molecule, Window

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

    def __init__(self, run: Run, trained: TrainedHalf) -> None:
        self.trained = trained
        volume, full = map_at_rest(run, self.trained)
        molecule = Molecule.of(coarse(run, volume, full), full)
        self.level = molecule.level(volume)
        inside = (molecule.weight.flatten() > 0).nonzero()[:, 0]
        few = full.points()[inside[:: max(len(inside) // _FEW_POINTS, 1)]]
        latents = self.trained.latents.mean
        moved = self.trained.displacements(latents[:: max(len(latents) // _SAMPLED, 1)], few)
        corners = torch.stack([full.points()[inside].amin(dim=0), full.points()[inside].amax(dim=0)])
        self.window = Window.around(torch.cat([corners, (few + moved).flatten(0, 1)]), full, SIZES["fine"])
        self.molecule = molecule
        self.side = [float(value) for value in camera_across((few + moved).double().numpy()).flatten()]
        self.largest = float(moved.norm(dim=2).flatten().kthvalue(max(int(0.99 * moved[..., 0].numel()), 1)).values)
        self.colours = ColourMaps(run)
        self.carriers = {
            name: Carrier(volume * molecule.weight, molecule, self.window.coarser(box), self.trained)
            for name, box in SIZES.items()
        }
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
        values = self.colours.within(quantity, carrier.window).reshape(-1)[carrier.map.voxels.numpy()]
        return Range.of(quantity, values[carrier.map.mass.numpy() > self.level])

    @cached_property
    def arrows(self) -> tuple[Tensor, Moves]:
        """Points ``(n 3)`` evenly over the surface of the molecule at rest, and how they move."""
        carrier = self.carriers["coarse"]
        density = np.zeros(carrier.window.grid.box**3, dtype=np.float32)
        density[carrier.map.voxels.numpy()] = carrier.map.mass.numpy()
        box = (carrier.window.grid.box,) * 3
        points = torch.from_numpy(spread_over(density.reshape(box), self.level, carrier.window.points().numpy()))
        return points, self.trained.model.deformation.at(points)

    @cached_property
    def parts(self) -> Parts | None:
        """The Gaussians or the mesh."""
        return Parts.of(self.trained)

    def arrows_to(self, latents: FloatArray) -> FloatArray:
        """Where arrows begin and how far they go in the conformation ``latents`` ``(k)``: x, y, z twice, ``(n 6)``."""
        points, moves = self.arrows
        with torch.no_grad():
            return torch.cat([points, moves(_latents(latents)[None])[0]], dim=1).numpy()

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
    """The map of the molecule in a window, ready to be carried, and quantities of its material with it."""

    def __init__(self, density: Tensor, molecule: Molecule, window: Window, trained: TrainedHalf) -> None:
        self.window = window
        inside = torch.from_numpy(window.sampled(molecule.weight.numpy()) > 0)
        model = trained.model
        flow, home = model.deformation, model.density.home()
        # The voxels of a window can be finer than those of the map, which knows nothing of what is between its own.
        self.map = CarriedMap(
            window.cut(density), window.grid, flow, home,
            center=window.center, within=inside, finest=2.0 * window.full.pixel_size,
        )  # fmt: skip
        # Where dense and thin material meet, a quantity is that of the dense; a little weighs what is not dense at all.
        self._weight = self.map.mass.clamp(min=0.0) + 1e-3 * self.map.mass.max()

    def carried(self, latents: Tensor, with_displacement: bool, at_rest: FloatArray | None) -> Conformation:
        """The map in the conformation ``latents`` ``(k)``; the displacement, or else the quantity that is ``at_rest``
        ``(d d d)``, goes along."""
        places = self.map.places(latents)
        density = self.map.drawn(places).numpy()
        if with_displacement:
            return Conformation(density, self._mixed(places, (places - self.map.points).norm(dim=1)), self.window)
        if at_rest is None:
            return Conformation(density, None, self.window)
        own = torch.from_numpy(at_rest).reshape(-1)[self.map.voxels]
        return Conformation(density, self._mixed(places, own), self.window)

    def _mixed(self, places: Tensor, quantity: Tensor) -> FloatArray:
        """A quantity ``(n)`` of the material, ``(d d d)``: the mean of what arrives at a voxel or one beside it."""
        grid = self.window.grid
        position = (places - self.window.center) / grid.pixel_size + grid.center
        corner = position.floor()
        kept = ((corner >= 0) & (corner < grid.box - 1)).all(dim=1)
        corner, fraction = corner[kept].long(), (position - corner)[kept]
        content = torch.stack([self._weight, self._weight * quantity], dim=1)[kept]
        start = (corner[:, 2] * grid.box + corner[:, 1]) * grid.box + corner[:, 0]
        sides = torch.stack([1.0 - fraction, fraction], dim=1)
        arrived = content.new_zeros(grid.box**3, 2)
        for offset in range(8):
            x, y, z = offset & 1, offset >> 1 & 1, offset >> 2
            share = sides[:, x, 0] * sides[:, y, 1] * sides[:, z, 2]
            arrived.index_add_(0, start + (z * grid.box + y) * grid.box + x, content * share[:, None])
        weight, total = arrived.unbind(dim=1)
        return torch.where(weight > 0, total / weight.clamp(min=1e-12), 0.0).view((grid.box,) * 3).numpy()


def _latents(values: FloatArray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
