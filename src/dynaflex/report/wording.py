"""The words in which the reports of the two methods differ."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """How a method calls what it moves (``points``) and trains (``model``), and what its figures of training show.

    ``geometry`` titles the term of the loss that holds the molecule together, ``shaded`` says what happened in the
    shaded epochs, and ``soften`` how a user weakens that term.
    """

    method: str
    points: str
    model: str
    heading: str
    geometry: str
    shaded: str
    soften: str


DYNAMIGHT = Wording(
    method="DynaMight",
    points="Gaussians",
    model="Gaussian model",
    heading="Gaussian model",
    geometry="geometry",
    shaded="in the shaded epochs only the Gaussians were trained.",
    soften="a smaller --regularisation",
)

FLEX = Wording(
    method="3DFlex",
    points="densest voxels",
    model="canonical map",
    heading="Mesh and canonical map",
    geometry="rigidity, squared strain",
    shaded="in the shaded epochs the canonical map stood still; later, epochs of the map, which have a band limit but "
    "no loss, take turns with epochs of the flow and the latents.",
    soften="a smaller --rigidity",
)


def wording_of(method: object, has_mesh: bool) -> Wording:
    """The words for the ``method`` of ``config.json``; where it names none, a run with a mesh is one of 3DFlex."""
    return FLEX if method == "flex" or (method != "dynamight" and has_mesh) else DYNAMIGHT
