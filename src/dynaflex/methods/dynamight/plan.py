"""What both halves start from: the maps that are filled with Gaussians, and the user's atomic model."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dynaflex.density.coarse_grain import CoarseModel, coarse_grain, to_box_frame
from dynaflex.errors import InputError, UsageError
from dynaflex.io.atoms import read_atoms
from dynaflex.methods.dynamight.build import Consensus, prepare_consensus
from dynaflex.methods.dynamight.config import DynamightConfig
from dynaflex.methods.dynamight.model_frame import require_on_map
from dynaflex.prepare.inputs import Inputs


@dataclass(frozen=True)
class Plan:
    """What each half starts from, and the user's atomic model in the frame of the box, if there is one."""

    starts: dict[int, Consensus]
    atoms: CoarseModel | None


def make_plan(inputs: Inputs, config: DynamightConfig) -> Plan:
    """The plan; refuse an atomic model or a contour that leaves nothing to place.

    Raises:
        InputError: they do.
        UsageError: an encoder was asked for with a symmetry.
    """
    if inputs.unit is not None and config.latents == "encoder":
        raise UsageError(
            "symmetry.encoder", "an encoder sees the image alone, which is the same for all copies of a particle",
            field="--latents", expected="table", found="encoder", fix="leave out --latents encoder",
        )  # fmt: skip
    atoms = atomic_model(inputs)
    halves = sorted({1, *config.trained_halves})
    return Plan({half: prepare_consensus(inputs, half, config) for half in halves}, atoms)


def atomic_model(inputs: Inputs) -> CoarseModel | None:
    """The user's atomic model as pseudo-atoms in the frame of the box; None where there is none.

    Raises:
        InputError: it cannot be read, or nothing in it is bonded.
    """
    path = inputs.paths.own.get("atoms")
    if path is None:
        return None
    model = coarse_grain(read_atoms(path))
    if len(model.edges) == 0:
        raise InputError(
            "atoms.no-bonds",
            "no two pseudo-atoms of this model are bonded",
            file=path,
            expected="a chain of residues",
            fix="give a model with its side chains or main chain, or leave out --model",
        )
    grid = inputs.full_imaging.grid
    points = to_box_frame(model.points, grid.box, grid.pixel_size, inputs.place.corner(grid.pixel_size))
    require_on_map(path, points, inputs.mask, grid)
    return replace(model, points=points)
