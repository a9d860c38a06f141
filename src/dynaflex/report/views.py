"""What the maps and the model of a finished run look like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dynaflex import fourier
from dynaflex.grid import Grid
from dynaflex.io.mrc import MrcMap
from dynaflex.products.series import SPREAD, first_component
from dynaflex.report import domains, page
from dynaflex.report.drawing import conformations, film, pictures
from dynaflex.report.drawing.local_resolution import draw_local_resolution
from dynaflex.report.drawing.player import film_figure
from dynaflex.report.drawing.style import Drawing
from dynaflex.report.drawing.surface import isosurface
from dynaflex.report.evidence import Evidence, guarded
from dynaflex.report.facts.resolution import quoted
from dynaflex.results.trained import load_half
from dynaflex.run.directory import Run
from dynaflex.shapes import Array


@dataclass(frozen=True)
class Moving:
    """What the model of half 1 does along the first component of its latents."""

    five: conformations.Conformations
    surface: conformations.CarriedSurface
    domains: domains.DomainsFound

    @classmethod
    def of(cls, run: Path, camera: Array) -> Moving:
        """The corrected map carried, and seen by a ``camera`` ``(3 3)``.

        Raises:
            UsageError: the half has not been trained to its end.
            DamagedCheckpointError: no checkpoint verifies.
            InputError: the map cannot be read, or shows no molecule.
        """
        opened = Run.open(run)
        trained = load_half(opened, 1)
        latents = torch.from_numpy(first_component(trained, film.FRAMES).latents).float()
        surface = replace(conformations.carry_surface(opened, trained, latents), camera=camera)
        five = conformations.five_conformations(trained, latents, surface)
        return cls(five, surface, domains.DomainsFound.of(opened, trained))


class Views:
    """Pictures of the maps of a run and of what its model does with them; ``shown`` keeps those that are figures."""

    def __init__(self, shown: Evidence) -> None:
        self.shown = shown
        files = shown.files
        self.corrected = files.mean_map("maps/map_half1.mrc", "maps/map_half2.mrc")
        self.rigid = files.mean_map("maps/rigid_half1.mrc", "maps/rigid_half2.mrc")
        self.whose = "the model that both halves share" if shown.shared else "the model of half 1"
        self.moving = None
        if shown.merged is not None:
            self.moving = files.of_the_model(lambda run: Moving.of(run, shown.camera))

    def compared(self) -> Iterator[str]:
        """The maps before and after."""
        yield guarded("the maps", self._turning)
        names = [f"maps/{kind}_half{half}.mrc" for kind in ("rigid", "map") for half in (1, 2)]
        missing = [name for name in names if name in self.shown.files.absent]
        yield self.shown.figure(
            "slices",
            "Central slices of the rigid and the corrected map (means of their half-maps, one grey scale).",
            ", ".join(missing or names),
            (self.rigid, self.corrected) if self.rigid and self.corrected else None,
            lambda pair: pictures.draw_slices(pair[0].slices(), pair[1].slices(), pair[0].pixel_size),
        )

    def local_resolution(self) -> Iterator[str]:
        """How sharp the corrected map is from place to place."""
        caption = (
            "Local resolution, where the corrected half-maps cease to agree around a place (FSC 0.5): on a contour of "
            "their merged map, and of the voxels inside it."
        )
        local = self.shown.files.volume("maps/local_resolution.mrc")
        missing = [name for name in ("maps/local_resolution.mrc", "maps/map.mrc") if name in self.shown.files.absent]
        both = (local, self.shown.merged) if local is not None and self.shown.merged is not None else None
        yield self.shown.figure("local-resolution", caption, ", ".join(missing), both, self._draw_local_resolution)

    def _draw_local_resolution(self, both: tuple[MrcMap, MrcMap]) -> Drawing:
        local, merged = both
        whole = Grid(merged.box, merged.pixel_size or 1.0)
        volume, grid = conformations.small(torch.from_numpy(merged.data), whole)
        level = conformations.contour(volume, grid, self.shown.start)
        surface = isosurface(conformations.without_islands(volume.numpy(), level), level, grid.pixel_size)
        inside = local.data[(local.data > 0) & (merged.data > level)].astype(np.float64)
        return draw_local_resolution(surface, local.data, whole.pixel_size, inside, self.shown.camera)

    def carried(self) -> Iterator[str]:
        """The conformations that the model makes."""
        caption = (
            f"Five conformations along the first principal axis of the latents of {self.whose}, in standard "
            "deviations, seen across the motion. Above, a contour of the corrected map of all particles, carried by "
            "that model and coloured by how far it is from the middle one; below, projections of the same map."
        )
        if self.moving is not None:
            yield self._film(self.moving.surface)
            yield from self._domains(self.moving)
        missing = next((name for name in ("maps/map.mrc", "checkpoints") if name in self.shown.files.absent), "")
        five = None if self.moving is None else self.moving.five
        yield self.shown.figure("conformations", caption, missing, five, conformations.draw_conformations)

    def _domains(self, moving: Moving) -> Iterator[str]:
        found = moving.domains
        yield page.paragraph(found.sentence())
        yield page.table(found.rows(), domains.HEAD)
        caption = (
            "The domains at both ends, seen across the motion; dashed, the axes about which they turn in the frame of "
            "the map, right-handed, where they pass through the picture: that of a domain which slides rather than "
            "turns lies far outside. RMSD is how far the points of a domain travel, and the last column what a rigid "
            "motion leaves of that: where it is not small beside the RMSD, the domain bends and its axis means little."
        )
        yield self.shown.figure(
            "domains", caption, "checkpoints", moving, lambda both: domains.draw_domains(both.domains, both.surface)
        )

    def _film(self, surface: conformations.CarriedSurface) -> str:
        caption = (
            f"The corrected map of all particles, carried by {self.whose} along the first principal axis of its "
            f"latents, from −{SPREAD:g} to +{SPREAD:g} standard deviations. The command dynaflex analyze writes movies "
            "as files."
        )
        names = film.in_deviations(np.linspace(-SPREAD, SPREAD, len(surface.moved)))
        return film_figure("film-motion", film.film_of_motion(surface, names), caption, goes_round=False)

    def _turning(self) -> str:
        """Both maps as surfaces at one contour."""
        motion, fsc = self.shown.motion, self.shown.fsc
        if self.rigid is None or self.corrected is None or motion is None or fsc is None:
            return ""
        whole = Grid(self.corrected.data.shape[0], self.corrected.pixel_size)
        pair = []
        for found, name in ((self.rigid, "rigid"), (self.corrected, "deformed")):
            volume, grid = conformations.small(torch.from_numpy(found.data), whole)
            pair.append(fourier.low_pass(volume, grid, quoted(fsc.get(name)) or self.shown.start))
        level = conformations.contour(pair[1], grid, self.shown.start)
        points, moves = (np.asarray(motion[name], np.float64) for name in ("points", "rms_displacement"))
        turning = film.film_of_maps((pair[0].numpy(), pair[1].numpy()), level, grid, self.shown.camera, points, moves)
        caption = (
            "The same particles without and with the correction: the means of the half-maps, each low-passed to where "
            "its FSC falls to 0.143, at one contour. Look where the colour says that it moves."
        )
        return film_figure("film-maps", turning, caption, goes_round=True)
