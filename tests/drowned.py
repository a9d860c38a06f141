"""Particles of which one half shows nothing: what is made of the other must not know."""

from __future__ import annotations

import numpy as np
import torch

from dynaflex.data.particles import Particles


class Drowned(Particles):
    """Particles of which half 2 shows noise and nothing else."""

    def images(self, indices: np.ndarray) -> torch.Tensor:
        """Those of half 1 as they are."""
        seen = super().images(indices)
        noise = torch.randn(seen.shape, generator=torch.Generator().manual_seed(0))
        return torch.where(torch.from_numpy(self.half[indices] == 2)[:, None, None], noise, seen)
