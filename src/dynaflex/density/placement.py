"""Where the first Gaussians stand: a threshold for the consensus map, a random fill, and a fit to the map."""

from __future__ import annotations

import math

import torch
from skimage.filters import threshold_otsu

from dynaflex import fourier
from dynaflex.density.gaussians import GaussianDensity
from dynaflex.grid import Grid
from dynaflex.shapes import Tensor

RESIDUE_VOLUME = 135.0  # Å³: 110 Da at 0.81 Da/Å³
GAUSSIANS_PER_RESIDUE = 2
_FIT_BOX = 64


def automatic_threshold(volume: Tensor, mask: Tensor | None = None) -> float:
    """A contour that keeps flexible density and leaves the solvent out.

    Half of Otsu's threshold between molecule and solvent keeps density that motion has thinned to half; five robust
    standard deviations of the solvent keep its noise out.
    """
    values = volume[mask > 0.5] if mask is not None else volume.flatten()
    otsu = float(threshold_otsu(volume.clamp(min=0).cpu().numpy()))
    solvent = values[values < otsu]
    centre = solvent.median()
    spread = 1.4826 * float((solvent - centre).abs().median())
    return max(0.5 * otsu, float(centre) + 5.0 * spread if mask is None else 0.0)


def enclosed(volume: Tensor, threshold: float, pixel_size: float) -> float:
    """Å³ of a map ``(d d d)`` above the threshold."""
    return float((volume > threshold).sum()) * pixel_size**3


def default_count(matter: float, trained_at: float) -> int:
    """Two Gaussians for every residue that fits into so many Å³ of ``matter``.

    There are no more of them than voxels of ``trained_at`` Å that hold the molecule: images of this pixel size cannot
    tell more apart.
    """
    told_apart = matter / trained_at**3
    return int(max(64, min(40_000, told_apart, GAUSSIANS_PER_RESIDUE * round(matter / RESIDUE_VOLUME))))


def fill(volume: Tensor, grid: Grid, threshold: float, count: int, generator: torch.Generator) -> Tensor:
    """``count`` positions ``(count 3)`` in Å, uniformly random in the voxels above the threshold.

    Voxels are drawn in a random order, each once before any is drawn twice, and the point is random inside its voxel.
    """
    voxels = (volume > threshold).flatten().nonzero()[:, 0]
    rounds = [
        voxels[torch.randperm(len(voxels), generator=generator)] for _ in range(math.ceil(count / max(len(voxels), 1)))
    ]
    chosen = torch.cat(rounds)[:count]
    jitter = torch.rand(count, 3, generator=generator) - 0.5
    return grid.points()[chosen] + jitter * grid.pixel_size


def match_norm(positions: Tensor, volume: Tensor, grid: Grid, classes: int, mass: Tensor | None) -> GaussianDensity:
    """Gaussians as wide as their spacing, with the amplitude at which the model has the norm of the map."""
    spacing = nearest_distance(positions)
    width = torch.tensor([spacing**2 * 1.5**i for i in range(classes)])
    density = GaussianDensity(positions, torch.ones(classes), width, mass)
    with torch.no_grad():
        scale = volume.norm() / density.volume(grid).norm()
        density.log_amplitude.add_(scale.log())
    return density


def nearest_distance(positions: Tensor) -> float:
    """The mean distance in Å of a point to its nearest neighbour."""
    nearest = [torch.cdist(part, positions).topk(2, largest=False).values[:, 1] for part in positions.split(2048)]
    return float(torch.cat(nearest).mean())


def place(
    volume: Tensor,
    grid: Grid,
    *,
    positions: Tensor,
    classes: int = 1,
    mass: Tensor | None = None,
    steps: int = 60,
    move: bool = True,
) -> GaussianDensity:
    """A Gaussian model at ``positions``, norm-matched to the map ``(d d d)`` and then fitted to it by least squares.

    Large maps are fitted at a Fourier-cropped box; an atomic model keeps its positions (``move=False``).
    """
    small = grid.cropped(min(grid.box, _FIT_BOX))
    target = fourier.resize(volume, small.box, 3)
    density = match_norm(positions, target, small, classes, mass)
    reach = math.sqrt(float(density.widths()[0].detach()))
    groups = [
        {"params": [density.log_amplitude, density.log_width], "lr": 0.03},
        {"params": [density.positions], "lr": 0.05 * reach if move else 0.0},
        {"params": [density.logits], "lr": 0.03},
    ]
    optimiser = torch.optim.Adam(groups)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = (density.volume(small) - target).square().sum() / target.square().sum()
        loss.backward()
        optimiser.step()
    return density


def histogram(volume: Tensor, bins: int = 100) -> tuple[list[int], list[float]]:
    """Counts ``bins`` and edges ``bins + 1`` of the voxel values, to draw a threshold into."""
    low, high = float(volume.min()), float(volume.max())
    counts = torch.histc(volume.float(), bins=bins, min=low, max=high)
    return counts.long().tolist(), torch.linspace(low, high, bins + 1).tolist()
