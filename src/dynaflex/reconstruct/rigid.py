"""The normal equations of particles that do not move: all images put into Fourier space once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch, in_halves
from dynaflex.imaging.noise import coefficient_weights
from dynaflex.reconstruct.equations import Batches, Equations, RampFilter
from dynaflex.reconstruct.field import Region
from dynaflex.reconstruct.lattice import Lattice
from dynaflex.shapes import Tensor

_FINER = 1.25
_COLUMNS_AT_ONCE = 16


class Convolution:
    """A symmetric convolution of maps on ``grid``, exact: there is room for a box on either side of another.

    ``spread`` ``(2d 2d 2d)``, its origin at sample d, is what becomes of a point.
    """

    def __init__(self, spread: Tensor, grid: Grid) -> None:
        self.box = grid.box
        planes = torch.fft.rfft(torch.fft.ifftshift(spread), dim=2)
        # What is even has a real transform.
        self._response = torch.empty(planes.shape, device=spread.device)
        for part in _slabs(planes.shape[2]):
            self._response[:, :, part] = torch.fft.fft2(planes[:, :, part], dim=(0, 1)).real

    def __call__(self, volume: Tensor) -> Tensor:
        """The map ``(d d d)`` convolved, within the box. Zeros that the box is padded with are not transformed."""
        d, double = self.box, 2 * self.box
        planes = torch.fft.fft(torch.fft.rfft(volume, n=double, dim=2), n=double, dim=1)
        for part in _slabs(d + 1):
            spectrum = torch.fft.fft(planes[:, :, part], n=double, dim=0) * self._response[:, :, part]
            planes[:, :, part] = torch.fft.ifft(spectrum, dim=0)[:d]
        return torch.fft.irfft(torch.fft.ifft(planes, dim=1)[:, :d], n=double, dim=2)[:, :, :d]


class RigidProblem:
    """What particles say of a map if none of them moves; every image is seen once.

    Without motion ``A* W A`` depends on the vector between two voxels alone: it is a convolution with
    ``sum_i sum_k W |C_i|² exp(2 pi i k · R_i x)``, and the right-hand side is ``sum_i sum_k W C_i* y_i(k) exp(2 pi i
    k · (R_i x + s_i))`` for shifts s. Both are sums over planes of Fourier space.
    """

    def __init__(self, grid: Grid, noise_power: Tensor) -> None:
        """``noise_power`` ``(s)`` is that of each shell, and lies on the device that all is to be on."""
        self.grid, self.device = grid, noise_power.device
        self._weights = coefficient_weights(noise_power, grid)
        self._power = Lattice(grid, 2 * grid.box, _FINER, 1, self.device)
        self._images: list[Lattice] = []

    def seen(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same ``batches``, of which poses and CTFs are put in on the way, and those of other ranks at the end."""
        for batch in batches:
            batch.in_pieces(
                lambda piece: self._power.add(piece.ctf.abs().square() * self._weights, piece.pose.rotation)
            )
            yield batch
        self._power.sum_over_ranks()

    def added(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same ``batches``, which are put in on the way with their images."""
        self._images = [Lattice(self.grid, self.grid.box, 2.0, 2, self.device) for _ in range(2)]
        for batch in self.seen(batches):
            for part, lattice in enumerate(self._images[: len(batch)]):
                mine = torch.arange(part, len(batch), 2, device=batch.ctf.device)
                in_halves(partial(self._put_into, lattice, batch), mine)
            yield batch
        for lattice in self._images:
            lattice.sum_over_ranks()

    def _put_into(self, lattice: Lattice, batch: Batch, which: Tensor) -> None:
        mine = batch.take(which)
        seen = mine.coefficients * mine.ctf.conj() * self._weights
        lattice.add(fourier.shift(seen, self.grid, -mine.pose.shift), mine.pose.rotation)

    def spread(self) -> Tensor:
        """What the normal operator makes of a point, ``(2d 2d 2d)`` with the point at sample d."""
        return self._power.volume().div_(self.grid.box**2)

    def equations(self) -> Equations:
        """The equations of the map of all that was added, on the whole sphere. The images are forgotten."""
        region = Region.sphere(self.grid, self.device)
        halves = []
        while self._images:
            halves.append(region.from_volume(self._images.pop(0).volume()) / self.grid.box**2)
        spread = self.spread()
        ramp, convolution = self.ramp(spread), Convolution(spread, self.grid)

        def normal(values: Tensor) -> Tensor:
            return region.from_volume(convolution(region.to_volume(values)))

        return Equations(region, torch.stack(halves), normal, ramp)

    def ramp(self, spread: Tensor) -> RampFilter:
        """The filter of backprojection, from :meth:`spread`."""
        d = self.grid.box
        box = slice(d - d // 2, 2 * d - d // 2)
        return RampFilter(spread[box, box, box], self.grid)


def rigid_equations(grid: Grid, batches: Batches, noise_power: Tensor) -> Equations:
    """The normal equations of particles that stand still."""
    problem = RigidProblem(grid, noise_power)
    for _ in problem.added(batches()):
        pass
    return problem.equations()


def _slabs(columns: int) -> list[slice]:
    return [slice(start, min(start + _COLUMNS_AT_ONCE, columns)) for start in range(0, columns, _COLUMNS_AT_ONCE)]
