"""A linear start for the latents: the principal components of what moves, at low resolution.

Particle i is taken to show ``C_i P_i (V + sum_k z_ik U_k) + noise`` with z from the unit normal distribution. That is
probabilistic principal component analysis seen through projections: expectation-maximisation finds V, U and the power
of the noise, and the mean of z given its image starts the latents. A motion is not linear in density, but small ones
nearly are; of large ones the order along the path is still found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import torch

from dynaflex import fourier, ranks, tell
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.noise import noise_weights
from dynaflex.imaging.pose import project
from dynaflex.imaging.splat import gather, splat
from dynaflex.linear import conjugate_gradients
from dynaflex.shapes import Tensor

ITERATIONS = 15
_MEAN_STEPS, _COMPONENT_STEPS = 8, 3
_INSIDE = 0.2
_COMPONENT_TO_MEAN = 0.1
_SMALLEST_BOX = 16
_BENT = 0.05

Batches = Callable[[], Iterable[Batch]]
"""A rank's share of all particles once, in the same batches and order at every call."""


@dataclass(frozen=True)
class LinearSubspace:
    """A mean map ``(d d d)`` and ``components`` ``(k d d d)``: how the map changes with one unit of each latent.

    Components are orthogonal and ordered by ``variance`` ``(k)``, their squared norms: the variance of the map that
    each explains, summed over voxels. They are zero outside ``mask`` ``(d d d)``. ``noise_power`` ``(s)`` is that of
    the images' residuals in each shell.
    """

    grid: Grid
    mask: Tensor
    mean: Tensor
    components: Tensor
    variance: Tensor
    noise_power: Tensor


def coarse_grid(grid: Grid, resolution: float) -> Grid:
    """The grid cropped to pixels of at least ``resolution / 2.5``: ``resolution`` Å then lies at 0.8 of Nyquist."""
    return grid.cropped(min(grid.box, max(_SMALLEST_BOX, 2 * int(1.25 * grid.width / resolution))))


def fit_subspace(
    batches: Batches,
    mask: Tensor,
    grid: Grid,
    count: int,
    generator: torch.Generator,
    iterations: int = ITERATIONS,
    task: str = "linear components of the images",
) -> LinearSubspace:
    """The ``count`` components that explain most of the variance of the particles inside ``mask`` ``(d d d)``.

    The mean map is the rigid least-squares map of the same images. A component's voxels have a normal prior, a tenth
    of the mean map's root mean square wide. It keeps out noise, and latents are the better for it, but components of
    few or noisy particles come out smaller than they are. ``task`` is what whoever waits for it is told.
    """
    tell.progress(task, 0, iterations)
    slices = _Slices(grid, mask)
    power = torch.ones(grid.n_shells, device=mask.device)
    voxels = len(slices.points)
    mean = _mean_map(slices, batches, power)
    components = torch.randn(count, voxels, generator=generator).to(mask.device) * 0.3 * mean.square().mean().sqrt()
    power = _expectation(slices, batches, mean, 0.0 * components, power)[1]
    precision = float(1.0 / (_COMPONENT_TO_MEAN**2 * mean.square().mean().clamp(min=1e-12)))
    for _ in tell.each(range(iterations), task):
        posteriors, power = _expectation(slices, batches, mean, components, power)
        problem = _LeastSquares(slices, batches, posteriors, power, precision)
        components = problem.improve(components, problem.right_hand_side(mean), _COMPONENT_STEPS)
        components = _principal_axes(components, _mean([posterior.moments for posterior in posteriors]))
    return LinearSubspace(
        grid=grid,
        mask=mask,
        mean=slices.to_volumes(mean)[0],
        components=slices.to_volumes(components),
        variance=components.square().sum(dim=1),
        noise_power=power,
    )


def beside(batches: Sequence[Batch], mask: Tensor, unit: Tensor, grid: Grid) -> Callable[[Batch], Batch]:
    """What takes off a batch all that the rigid map of ``batches`` inside ``mask`` ``(d d d)`` has beside the ``unit``
    ``(d d d)``, in weights.

    What moves there is not the unit's, and stays as noise.
    """
    slices = _Slices(grid, mask)
    mean = _mean_map(slices, lambda: batches, torch.ones(grid.n_shells, device=mask.device))
    rest = mean * (1.0 - slices.from_volumes(unit[None]))

    def taken_off(batch: Batch) -> Batch:
        coefficients = batch.coefficients - slices.images(rest, batch)[:, 0]
        return replace(batch, read=partial(_as_it_is, coefficients))

    return taken_off


def _as_it_is(coefficients: Tensor) -> Tensor:
    return coefficients


def linear_latents(subspace: LinearSubspace, index: Tensor, batches: Callable[[Tensor], Iterable[Batch]]) -> Tensor:
    """The posterior means of particles ``index`` ``(p)``, of which ``batches(mine)`` has a rank's share, centred and
    scaled to unit variance, ``(p k)``."""
    slices = _Slices(subspace.grid, subspace.mask)
    mean, components = slices.from_volumes(subspace.mean[None]), slices.from_volumes(subspace.components)

    def found(mine: Tensor) -> Tensor:
        posteriors, _ = _expectation(slices, partial(batches, mine), mean, components, subspace.noise_power)
        return torch.cat([posterior.mean for posterior in posteriors])

    return _unit_variance(ranks.rows(index, found))


def straight_coordinates(latents: Tensor, variance: Tensor, count: int) -> Tensor:
    """``count`` coordinates ``(p count)`` of unit variance out of more latents ``(p k)`` of some ``variance`` ``(k)``.

    The density of one large motion follows a bent path, so that its bend is a component of its own, often a stronger
    one than the next motion. Coordinates are taken in the order of variance; after each, the direction into which the
    path bends with the products of the coordinates taken so far is left out, where it bends significantly.
    """
    rest = (latents - latents.mean(dim=0)) * variance.sqrt()
    taken: list[Tensor] = []
    for _ in range(count):
        direction = torch.linalg.eigh(rest.T @ rest)[1][:, -1]
        taken.append(rest @ direction)
        rest = _without(rest, direction)
        for earlier in taken:
            rest = _without_bend(rest, earlier * taken[-1], torch.stack(taken, dim=1))
    return _unit_variance(torch.stack(taken, dim=1))


def _without_bend(rest: Tensor, product: Tensor, taken: Tensor) -> Tensor:
    """``rest`` ``(p k)`` without the direction in which it follows ``product`` ``(p)``, where it explains enough."""
    # Not lstsq: its last bits depend on where in memory its workspace lies, and a resumed run would not be the same.
    known = torch.linalg.qr(torch.cat([torch.ones_like(taken[:, :1]), taken], dim=1))[0]
    bend = product - known @ (known.T @ product)
    direction = torch.nn.functional.normalize(rest.T @ bend, dim=0)
    along = rest @ direction
    explained = (along @ bend).square() / (along.square().sum() * bend.square().sum()).clamp(min=1e-30)
    return _without(rest, direction) if float(explained) > _BENT else rest


def _without(rest: Tensor, direction: Tensor) -> Tensor:
    return rest - torch.outer(rest @ direction, direction)


def _unit_variance(latents: Tensor) -> Tensor:
    centred = latents - latents.mean(dim=0)
    return centred / centred.square().mean(dim=0).sqrt().clamp(min=1e-12)


class _Slices:
    """The voxels ``(n)`` inside a mask as point masses, and their images through the CTF."""

    def __init__(self, grid: Grid, mask: Tensor) -> None:
        self.grid = grid
        self.voxels = (mask.flatten() > _INSIDE).nonzero()[:, 0]
        self.points = grid.points(mask.device)[self.voxels]

    def images(self, values: Tensor, batch: Batch) -> Tensor:
        """Coefficients ``(b m h w)`` of m maps ``(m n)``."""
        where = project(self.points, batch.pose)
        return torch.stack([splat(where, value, self.grid) * batch.ctf for value in values], dim=1)

    def back(self, coefficients: Tensor, batch: Batch) -> Tensor:
        """The adjoint of :meth:`images`, summed over the particles, ``(m n)``."""
        where = project(self.points, batch.pose)
        seen = coefficients * batch.ctf.conj()[:, None]
        return torch.stack([gather(where, seen[:, m], self.grid) for m in range(seen.shape[1])])

    def whitening(self, power: Tensor) -> Tensor:
        """One over the noise power ``(h w)``, 0 beyond Nyquist and at the origin.

        The mean of an image says how its background was measured, not what is in it.
        """
        shells = self.grid.shells(2, power.device)
        inside = (shells > 0) & (shells < self.grid.n_shells - 1)
        return torch.where(inside, 1.0 / fourier.spread_shells(power.clamp(min=1e-6), self.grid, 2), 0.0)

    def to_volumes(self, values: Tensor) -> Tensor:
        """Maps ``(m d d d)`` of values ``(m n)``, zero outside the mask."""
        volumes = values.new_zeros(len(values), self.grid.box**3)
        volumes[:, self.voxels] = values
        return volumes.view(-1, self.grid.box, self.grid.box, self.grid.box)

    def from_volumes(self, volumes: Tensor) -> Tensor:
        """The values ``(m n)`` of maps ``(m d d d)`` inside the mask."""
        return volumes.flatten(1)[:, self.voxels]


@dataclass(frozen=True)
class _Latent:
    """A batch's latents given its images: ``mean`` ``(b k)`` and second ``moments`` ``(b k k)``."""

    mean: Tensor
    moments: Tensor


def _expectation(
    slices: _Slices, batches: Batches, mean: Tensor, components: Tensor, power: Tensor
) -> tuple[list[_Latent], Tensor]:
    """The exact posterior of every batch, and the noise power ``(s)`` that the images leave under it.

    The posterior is normal with precision ``1 + U* P* C W C P U``, one small matrix per particle, over its images.
    """
    grid, weights = slices.grid, noise_weights(power, slices.grid) * (slices.whitening(power) > 0)
    posteriors, left, total = [], torch.zeros_like(weights), 0
    for batch in batches():
        images = slices.images(torch.cat([mean, components]), batch)
        difference, parts = batch.coefficients - images[:, 0], images[:, 1:]
        real = torch.view_as_real(parts.contiguous()).flatten(2)
        weighted = real * weights[..., None].expand(-1, -1, 2).flatten()
        seen = batch.series.shared(weighted @ real.transpose(1, 2))
        covariance = torch.linalg.inv(seen + torch.eye(len(components), device=real.device))
        explained = batch.series.shared((weighted @ torch.view_as_real(difference).flatten(1)[..., None])[..., 0])
        z = (covariance @ explained[..., None])[..., 0]
        posteriors.append(_Latent(z, covariance + z[:, :, None] * z[:, None, :]))
        unexplained = difference - torch.einsum("bk,bkhw->bhw", z.to(parts.dtype), parts)
        spread = torch.einsum("bkl,bkhw,blhw->hw", covariance.to(parts.dtype), parts, parts.conj()).real
        left += unexplained.abs().square().sum(dim=0) + spread
        total += len(z)
    left, everyone = ranks.summed_together([left, torch.tensor([float(total)])])
    return posteriors, fourier.shell_mean(left / float(everyone), grid, 2) / grid.box**2


class _LeastSquares:
    """The weighted least-squares problem for m maps at once, given every particle's latents, and its solution."""

    def __init__(
        self, slices: _Slices, batches: Batches, latents: Sequence[_Latent], power: Tensor, precision: float
    ) -> None:
        self.slices = slices
        self.batches = batches
        self.latents = latents
        self.weights = slices.whitening(power)
        self.precision = precision

    def right_hand_side(self, mean: Tensor | None) -> Tensor:
        """What the images, less those of the ``mean`` map ``(1 n)``, say about each map, ``(m n)``."""
        total = torch.zeros((), device=self.weights.device)
        for batch, latent in zip(self.batches(), self.latents, strict=True):
            left = batch.coefficients if mean is None else batch.coefficients - self.slices.images(mean, batch)[:, 0]
            total = total + self.slices.back((left * self.weights)[:, None] * latent.mean[..., None, None], batch)
        return ranks.summed(total)

    def normal(self, values: Tensor) -> Tensor:
        """The normal operator with the prior's precision, on maps ``(m n)``."""
        total = ranks.once(self.precision * values)
        for batch, latent in zip(self.batches(), self.latents, strict=True):
            images = self.slices.images(values, batch) * self.weights
            mixed = torch.einsum("bml,blhw->bmhw", latent.moments.to(images.dtype), images)
            total = total + self.slices.back(mixed, batch)
        return ranks.summed(total)

    def improve(self, start: Tensor, right_hand_side: Tensor, steps: int) -> Tensor:
        """Maps ``(m n)`` after some steps of conjugate gradients from ``start``."""
        normal = lambda maps: self.normal(maps.view_as(start)).flatten()  # noqa: E731
        found = conjugate_gradients(normal, right_hand_side.flatten(), lambda residual: residual, start.flatten())
        *_, last = islice(found, steps + 1)
        return last.solution.view_as(start)


def _mean_map(slices: _Slices, batches: Batches, power: Tensor) -> Tensor:
    """The rigid least-squares map, ``(1 n)``: the same problem with one latent that is 1 for every particle."""
    ones = [torch.ones(len(batch.pose), 1, device=power.device) for batch in batches()]
    problem = _LeastSquares(slices, batches, [_Latent(one, one[:, None]) for one in ones], power, 0.0)
    right = problem.right_hand_side(None)
    return problem.improve(torch.zeros_like(right), right, _MEAN_STEPS)


def _mean(parts: list[Tensor]) -> Tensor:
    """The mean ``(k k)`` over all particles of what a rank has for its own, in some parts ``(b k k)``."""
    values = torch.cat(parts)
    total, count = ranks.summed_together([values.sum(dim=0), torch.tensor([float(len(values))])])
    return total / float(count)


def _principal_axes(components: Tensor, moments: Tensor) -> Tensor:
    """The same subspace and variances, with latents whose second moments ``(k k)`` are now 1, and orthogonal maps."""
    scaled = torch.linalg.cholesky(moments).T @ components
    axes = torch.linalg.eigh(scaled @ scaled.T)[1].flip(1)
    return axes.T @ scaled
