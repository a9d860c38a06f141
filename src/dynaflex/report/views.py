"""What the maps and the model of a finished run look like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dynaflex.grid import Grid
from dynaflex.pipelines.analysis.series import SPREAD, first_component
from dynaflex.pipelines.predict import load_half
from dynaflex.report import conformations, domains, film, page, pictures
from dynaflex.report.evidence import Evidence, guarded
from dynaflex.report.player import film_figure
from dynaflex.report.resolution import quoted
from dynaflex.run.directory import Run
from dynaflex.shapes import Array


@dataclass(frozen=True)
class Moving:
    """What the model of half 1 does along the first component of its latents."""

    five: conformations.Conformations
    surface: conformations.CarriedSurface
    domains: domains.DomainsFound

    @classmethod
    def of(cls, run: Path, resolution: float, camera: Array | None = None) -> Moving:
        """The corrected map of half 1, low-passed to ``resolution`` Å, carried, and seen by a ``camera`` ``(3 3)``, or
        across this motion.

        Raises:
            UsageError: the half has not been trained to its end.
            DamagedCheckpointError: no checkpoint verifies.
            InputError: the map cannot be read, or shows no molecule.
        """
        opened = Run.open(run)
        trained = load_half(opened, 1)
        latents = torch.from_numpy(first_component(trained, film.FRAMES).latents).float()
        surface = conformations.carry_surface(opened, trained, latents, resolution)
        if camera is not None:
            surface = replace(surface, camera=camera)
        five = conformations.five_conformations(trained, latents, surface)
        return cls(five, surface, domains.DomainsFound.of(opened, trained))


class Views:
    """Pictures of the maps of a run and of what its model does with them; ``shown`` keeps those that are figures."""

    def __init__(self, shown: Evidence) -> None:
        self.shown = shown
        files = shown.files
        self.corrected = files.mean_map("maps/map_half1.mrc", "maps/map_half2.mrc")
        self.rigid = files.mean_map("maps/rigid_half1.mrc", "maps/rigid_half2.mrc")
        self.moving = None
        if "maps/map_half1.mrc" not in files.absent:
            self.moving = files.of_the_model(lambda run: Moving.of(run, shown.sharpness(), shown.camera))

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

    def carried(self) -> Iterator[str]:
        """The conformations that the model makes."""
        caption = (
            "Five conformations of half 1 along the first principal axis of its latents, in standard deviations, seen "
            "across the motion. Above, a contour of the corrected map, carried by the model and coloured by how far "
            "it is from the middle one; below, projections of the same map."
        )
        if self.moving is not None:
            yield self._film(self.moving.surface)
            yield from self._domains(self.moving)
        missing = next((name for name in ("maps/map_half1.mrc", "checkpoints") if name in self.shown.files.absent), "")
        five = None if self.moving is None else self.moving.five
        yield self.shown.figure("conformations", caption, missing, five, conformations.draw_conformations)

    def _domains(self, moving: Moving) -> Iterator[str]:
        found = moving.domains
        yield page.paragraph(found.sentence())
        yield page.table(found.rows(), domains.HEAD)
        caption = (
            "The domains at both ends, seen across the motion; dashed, the axes about which they turn in the frame of "
            "the map, right-handed. RMSD is how far the points of a domain travel, and the last column what a rigid "
            "motion leaves of that: where it is not small beside the RMSD, the domain bends and its axis means little."
        )
        yield self.shown.figure(
            "domains", caption, "checkpoints", moving, lambda both: domains.draw_domains(both.domains, both.surface)
        )

    def _film(self, surface: conformations.CarriedSurface) -> str:
        whose = "the model that both halves share" if self.shown.shared else "the model of half 1"
        caption = (
            f"The corrected map of half 1, carried by {whose} along the first principal axis of its latents, from "
            f"−{SPREAD:g} to +{SPREAD:g} standard deviations. The command dynaflex analyze writes movies as files."
        )
        steps = np.linspace(-SPREAD, SPREAD, len(surface.moved))
        return film_figure("film-motion", film.film_of_motion(surface, steps), caption, goes_round=False)

    def _turning(self) -> str:
        """Both maps as surfaces at one contour."""
        motion, fsc, camera = self.shown.motion, self.shown.fsc, self.shown.camera
        if self.rigid is None or self.corrected is None or motion is None or fsc is None or camera is None:
            return ""
        whole = Grid(self.corrected.data.shape[0], self.corrected.pixel_size)
        pair = []
        for found, name in ((self.rigid, "rigid"), (self.corrected, "deformed")):
            sharp = quoted(fsc.get(name)) or self.shown.sharpness()
            volume, grid = conformations.small(torch.from_numpy(found.data), whole, sharp)
            pair.append(volume)
        level = conformations.contour(pair[1], grid, self.shown.start)
        points, moves = (np.asarray(motion[name], np.float64) for name in ("points", "rms_displacement"))
        turning = film.film_of_maps((pair[0].numpy(), pair[1].numpy()), level, grid, camera, points, moves)
        caption = (
            "The same particles without and with the correction: the means of the half-maps, each low-passed to where "
            "its FSC falls to 0.143, at one contour. Look where the colour says that it moves."
        )
        return film_figure("film-maps", turning, caption, goes_round=True)
