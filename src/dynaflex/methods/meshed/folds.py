"""Two folds of a half's particles: each is moved against the map that was made from the other.

A map made from a particle holds some of its noise. Inferred against it, latents and flow explain that noise, the next
map is sharpened with what they say, and it holds more. Of the other fold's map a particle's noise is independent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import torch

from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.imaging.batch import Batch
from dynaflex.shapes import Tensor
from dynaflex.training.steps import Progress

FOLDS = 2


@dataclass
class MapProgress(Progress):
    """``fold_maps`` ``(2 n)`` are the voxels of the maps from either fold, empty before a map was solved for; ``added``
    is how many epochs there are beyond those planned."""

    fold_maps: Tensor = field(default_factory=lambda: torch.zeros(0))
    added: int = 0


def fold_of(index: Tensor, particle: Tensor) -> Tensor:
    """The fold, 0 or 1, of the rows ``index`` ``(b)`` of a half that show particles ``particle`` ``(p)``: found where
    those are, of which there are many more.

    Copies of a particle by symmetry, and images of its tilt series, are in one fold.
    """
    return particle[index.to(particle.device)] % FOLDS


def by_fold(batch: Batch, particle: Tensor) -> list[Batch]:
    """The same particles in batches of one fold each; ``particle`` as in :func:`fold_of`."""
    present = fold_of(batch.everyone, particle).unique().tolist()

    def of(fold: int) -> Batch:
        return batch.where(lambda index: fold_of(index, particle) == fold)

    return [of(fold) for fold in present]


def of_the_others(density: CanonicalMap, maps: Tensor, batch: Batch, particle: Tensor) -> AbstractContextManager[None]:
    """The map, of ``maps`` ``(2 n)``, that was made without the particles of a batch, which is of one fold.

    ``particle`` is as in :func:`fold_of`. Where there are no maps yet it is the one that both folds were given.
    """
    return showing(density, maps[1 - int(fold_of(batch.index[0], particle))] if len(maps) else density.values)


@contextmanager
def showing(density: CanonicalMap, values: Tensor) -> Iterator[None]:
    """The map with other ``values`` ``(n)`` for a while."""
    kept = density.values
    density.values = values
    try:
        yield
    finally:
        density.values = kept
