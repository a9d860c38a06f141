"""A state as all particles show it, wherever its own do not object.

The run's map that is carried into a state has every particle, and knows nothing that the motion does not say. The
state's own maps know all of it, and are as noisy as its particles are few. Where the two differ by more than noise,
both halves of the particles see the same difference; only that is taken over.
"""

from __future__ import annotations

from dynaflex import tell
from dynaflex.prepare.inputs import Inputs
from dynaflex.products.states.chosen import State
from dynaflex.products.states.surroundings import Surroundings
from dynaflex.results.half_maps.made import HalfMaps, Recipe, finished
from dynaflex.results.volumes import carried_map
from dynaflex.run.directory import Run
from dynaflex.run.files import has_map
from dynaflex.shapes import Tensor
from dynaflex.validate.local_resolution import agreed

_LEFT_OUT = "no maps with all particles"


def carried_halves(
    run: Run, inputs: Inputs, both: Surroundings, state: State, made: HalfMaps, recipe: Recipe
) -> dict[int, Tensor]:
    """Each half-map ``(d d d)`` of a run, carried into a state by the model of its own half, so that no half knows the
    other; none if the run has no half-maps on the grid of those that were ``made``."""
    if not all(has_map(run, f"map_half{half}") for half in state.parts):
        tell.say(f"{_LEFT_OUT}: the run has no half-maps yet, dynaflex resume makes them")
        return {}
    carried = {half: carried_map(run, both.halves[half], "half") for half in state.parts}
    # Both are as wide as the images; what a header says of a pixel is rounded.
    box = carried[1].grid.box
    if box != made.grid.box:
        tell.say(f"{_LEFT_OUT}: the half-maps of the run have a box of {box} voxels, these of {made.grid.box}")
        return {}
    group = recipe.group(run, inputs)
    return {half: finished(one.at(state.parts[half].origin), group, inputs.unit) for half, one in carried.items()}


def combined(own: dict[int, Tensor], carried: dict[int, Tensor], pixel_size: float, mask: Tensor) -> dict[int, Tensor]:
    """The ``carried`` half-maps ``(d d d)``, with as much of what a state's ``own`` say otherwise as is signal.

    How much that is at each place, in each band, their differences say, which have independent noise. What only the
    state has may lie beside the ``mask`` ``(d d d)``, which says no more than where to look.
    """
    otherwise = {half: own[half] - carried[half] for half in (1, 2)}
    same = agreed(otherwise[1], otherwise[2], pixel_size, mask)
    return {half: carried[half] + difference for half, difference in zip((1, 2), same, strict=True)}
