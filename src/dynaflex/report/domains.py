"""Which parts of the molecule move as bodies, about which axis and how far: a table, and a picture of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from dynaflex.palettes import domain_colour
from dynaflex.products.series import (
    MAP_FRAME,
    SPREAD,
    DomainMotion,
    Domains,
    find_domains,
    first_component,
    motion_table,
)
from dynaflex.report.drawing.conformations import CarriedSurface, carried
from dynaflex.report.drawing.style import bare, drawn, new_figure, scale_bar
from dynaflex.report.drawing.surface import draw_surface
from dynaflex.results.trained import TrainedHalf
from dynaflex.run.directory import Run
from dynaflex.shapes import Array

HEAD = (
    "domain", "of the molecule", "seen from", "turns by", "about the axis x, y, z", "centre moves", "RMSD",
    "not rigid",
)  # fmt: skip
_FRAMES = 9
_NONE = "#c3c9d0"
_PIXELS = 420
_TURNED = np.radians(1.0)


@dataclass(frozen=True)
class DomainsFound:
    """The domains of the molecule, and how each moves from one end of the first component to the other."""

    domains: Domains
    motions: list[DomainMotion]

    @classmethod
    def of(cls, run: Run, trained: TrainedHalf) -> DomainsFound:
        """Those that ``dynaflex analyze`` finds, in the model of one half along the first component alone.

        Raises:
            InputError: the segments of the mesh hold none of the molecule.
        """
        domains = find_domains(run, trained, [first_component(trained, _FRAMES)], None)
        return cls(domains, motion_table(domains))

    @property
    def names(self) -> list[int]:
        """The domains, from 1."""
        return [int(name) for name in np.unique(self.domains.label) if name > 0]

    def sentence(self) -> str:
        """How the domain that travels furthest moves, seen from the largest if that is another."""
        furthest = max(self.motions, key=lambda one: (one.motion.rmsd, one.frame == MAP_FRAME))
        mine = [one for one in self.motions if one.domain == furthest.domain]
        seen = next((one for one in mine if one.frame != MAP_FRAME), mine[0])
        against = "" if seen.frame == MAP_FRAME else f" against {seen.frame}"
        bends = "" if seen.motion.residual < 0.5 * seen.motion.rmsd else "; most of that is not the motion of a body"
        return (
            f"From −{SPREAD:g} to +{SPREAD:g} standard deviations of the first component, domain {seen.domain} turns "
            f"by {np.degrees(seen.motion.angle):.0f}°{against} and its points travel {seen.motion.rmsd:.1f} Å rms"
            f"{bends}. Domains here are {self.domains.origin.removeprefix('found: ')}."
        )

    def rows(self) -> list[tuple[str, ...]]:
        """A line of text for each motion of each domain, in the order of ``HEAD``."""
        everything = len(self.domains.label)
        return [
            (
                str(one.domain),
                f"{one.points / everything:.0%}",
                one.frame,
                f"{np.degrees(one.motion.angle):.1f}°",
                "none" if np.isnan(one.motion.axis[0]) else "  ".join(_signed(part) for part in one.motion.axis),
                f"{np.linalg.norm(one.motion.translation):.1f} Å",
                f"{one.motion.rmsd:.1f} Å",
                f"{one.motion.residual:.1f} Å",
            )
            for one in self.motions
        ]


@drawn
def draw_domains(found: DomainsFound, surface: CarriedSurface) -> Figure:
    """The molecule by domain, at both ends of the first component, with the axes about which they turn."""
    nearest = cKDTree(found.domains.points).query(surface.surface.vertices)[1]
    label = found.domains.label[nearest]
    fills = np.array([to_rgb(_NONE), *(to_rgb(domain_colour(name)) for name in found.names)])[
        np.searchsorted([0, *found.names], label)
    ]
    across, up = 1.05 * np.abs((surface.moved - surface.center) @ surface.camera[:2].T).max(axis=(0, 1))
    reach = float(max(across, up))
    figure = new_figure(4.3)
    panels = figure.subplots(1, 2)
    for axes, places, title in zip(panels, (surface.moved[0], surface.moved[-1]), "−+", strict=True):
        shape = carried(surface.surface, places)
        picture = draw_surface(shape, fills, surface.camera, surface.center, reach, _PIXELS)
        axes.imshow(picture, extent=(-reach, reach, -reach, reach))
        axes.set(xlim=(-across, across), ylim=(-up, up))
        bare(axes)
        axes.set_title(f"{title}{SPREAD:g} sd", loc="center")
        _draw_axes(axes, found, surface)
    scale_bar(panels[0], 2 * float(across))
    for name in found.names:
        panels[0].plot([], [], "s", color=domain_colour(name), label=f"domain {name}")
    figure.legend(loc="outside lower center", ncols=6)
    return figure


def _draw_axes(axes: Axes, found: DomainsFound, surface: CarriedSurface) -> None:
    """The axis of every domain that turns by more than a degree, as seen in the map."""
    extent: Array = np.linalg.norm(surface.moved[0] - surface.center, axis=1)
    length = 0.45 * float(extent.max())
    for one in found.motions:
        if one.frame == MAP_FRAME and one.motion.angle > _TURNED:
            ends = one.motion.point + np.array([[-length], [length]]) * one.motion.axis
            seen = (ends - surface.center) @ surface.camera[:2].T
            axes.plot(*seen.mean(axis=0), "o", color="white", markeredgecolor=domain_colour(one.domain), markersize=5)
            axes.plot(seen[:, 0], seen[:, 1], color=domain_colour(one.domain), linewidth=1.8, linestyle=(0, (4, 2)))


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
