"""The maps of a state in a folder of its own: made of its particles alone, and what they were made from."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynaflex import tell
from dynaflex.analyze.domains import moving_part
from dynaflex.density.contour import level_enclosing
from dynaflex.errors import UsageError
from dynaflex.grid import Grid
from dynaflex.io import durable
from dynaflex.io.mrc import write_map
from dynaflex.palettes import COMBINED, CORRECTED, HALVES, RIGID
from dynaflex.prepare.images import Imaging
from dynaflex.prepare.inputs import Inputs
from dynaflex.prepare.place import place_of
from dynaflex.products.chimerax.script import Script
from dynaflex.products.names import STATE
from dynaflex.products.states.chosen import Chosen, State, particle_error, state_of, views_needed
from dynaflex.products.states.combined import carried_halves, combined
from dynaflex.products.states.surroundings import Surroundings
from dynaflex.reconstruct.carry import carried_mask
from dynaflex.reconstruct.postprocess import merge
from dynaflex.results.half_maps.judged import around_points, claim_limit, judged
from dynaflex.results.half_maps.made import AS_USUAL, HalfMaps, Recipe, make_half_maps
from dynaflex.results.volumes import coarse
from dynaflex.run.directory import Run
from dynaflex.run.files import FSC, read_motion
from dynaflex.run.results import listed_in, replaced
from dynaflex.shapes import Tensor
from dynaflex.workers.halves import Each, in_turn

SUMMARY, ROWS, SCRIPT = "state.json", "particles.txt", "state.cxc"


def make_state(
    run: Run,
    inputs: Inputs,
    both: Surroundings,
    chosen: Chosen,
    folder: Path,
    device: torch.device,
    each: Each = in_turn,
    recipe: Recipe = AS_USUAL,
) -> dict[str, Any]:
    """The half-maps of a state, corrected and rigid, what both say together, and a script for ChimeraX, in a folder;
    returns what ``state.json`` holds.

    Every particle is bent into the conformation in the middle of its half's: what differs between the particles of the
    state is corrected, the state itself is not undone. The files are called as those of a run's ``maps/``, and mean the
    same; ``rigid.mrc`` is the merged control.

    Raises:
        InputError, UsageError: as :func:`state_of`; the folder holds another state; or the maps cannot be made by this
            ``recipe``.
        NumericalError: a voxel is not finite.
    """
    require_free(folder, run, chosen, recipe)
    imaging, state = _imaging(run, inputs, recipe), state_of(run, both, chosen)
    _warn_of_gaps(inputs, state)
    with replaced(folder, STATE) as staging:
        mask = _mask(inputs, imaging, both, state)
        made = make_half_maps(run, inputs, imaging, mask, device, each, recipe, state.parts)
        if carried := carried_halves(run, inputs, both, state, made, recipe):
            made = replace(made, combined=combined(made.corrected, carried, made.grid.pixel_size, mask))
        moving = _moving_part(run, both, state, imaging.grid)
        found = judged(made, moving, claim_limit(run, inputs), recipe.b_factor)
        merged = {
            kind: merge(halves[1], halves[2], torch.tensor(found.fsc[kind]["corrected"]))
            for kind, halves in (("rigid", made.rigid), ("combined", made.combined))
            if halves
        }
        place = place_of(run, made.grid)
        for name, volume in {**made.named(), **found.maps, **merged, "mask": mask}.items():
            write_map(staging / f"{name}.mrc", volume.numpy(), made.grid.pixel_size, place)
        _script(run, made, found.maps["map"], merged["rigid"], merged.get("combined")).write(staging / SCRIPT)
        durable.write_text(staging / ROWS, "".join(f"{row}\n" for row in chosen.rows))
        durable.write_json(staging / FSC, found.fsc)
        said = _said(run, chosen, state, recipe, found.fsc)
        durable.write_json(staging / SUMMARY, said)
    return said


def require_free(folder: Path, run: Run, chosen: Chosen, recipe: Recipe) -> None:
    """Refuse to replace another state by this one; the same is made again.

    Raises:
        UsageError: the folder holds one of other particles, of another run, or made in another way.
    """
    listed = listed_in(folder, STATE)
    if not listed.has(SUMMARY):
        return
    before = {} if listed.fault(SUMMARY) else json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    if before.get("made_from") != _made_from(run, chosen, recipe):
        raise UsageError(
            "state.taken", "another state lies here, and would be replaced", file=folder,
            expected=f"{chosen.what}, made in the same way", found=before.get("what", "one whose list is damaged"),
            fix="choose another -o, or remove that folder",
        )  # fmt: skip


def _imaging(run: Run, inputs: Inputs, recipe: Recipe) -> Imaging:
    if recipe.field == "inverse":
        raise UsageError(
            "state.no-inverse", "the learned inverse leads to where the whole run rests, not to a state",
            field="--field", expected="decoder", found="inverse", fix="leave out --field inverse",
        )  # fmt: skip
    return recipe.imaging(run, inputs)


def _made_from(run: Run, chosen: Chosen, recipe: Recipe) -> dict[str, Any]:
    return {"run": run.identity, "particles_sha256": chosen.digest, **asdict(recipe)}


def _warn_of_gaps(inputs: Inputs, state: State) -> None:
    needed = views_needed(inputs)
    few = [f"half {half} has {count}" for half, count in state.images.items() if count < needed]
    if few:
        tell.warn(f"{' and '.join(few)} images: fewer than {needed} views leave gaps in Fourier space at Nyquist")


def _mask(inputs: Inputs, imaging: Imaging, both: Surroundings, state: State) -> Tensor:
    """The mask of the run where the molecule is in the state, by the model of either half."""
    mask = inputs.mask_on(imaging.grid)
    moved = torch.zeros_like(mask)
    for half, trained in both.halves.items():
        model, origin = trained.model, state.parts[half].origin
        there = carried_mask(mask, imaging.grid, model.deformation, model.density.home(), origin)
        moved = torch.maximum(moved, there)
    return moved


def _moving_part(run: Run, both: Surroundings, state: State, grid: Grid) -> Tensor | None:
    """A soft mask around the part that moves, where it is in the state; None where nothing moves."""
    motion = read_motion(run)
    moves = moving_part(motion.rms_displacement)
    if not moves.any():
        return None
    points = torch.from_numpy(motion.points[moves])
    moved = [
        points + both.halves[half].displacements(part.origin[None], points)[0] for half, part in state.parts.items()
    ]
    return around_points(torch.cat(moved).numpy(), grid)


def _script(run: Run, made: HalfMaps, merged: Tensor, rigid: Tensor, everyone: Tensor | None) -> Script:
    """The state without and with correction, and unseen at first as all particles show it, and its half-maps, each kind
    at a level of its own."""
    filled = coarse(run, merged, made.grid).filled
    script = Script()
    before = script.open_map("rigid.mrc", level_enclosing(rigid, filled), RIGID)
    script.open_map("map.mrc", level_enclosing(merged, filled), CORRECTED)
    hidden: list[int] = []
    if everyone is not None:
        hidden.append(script.open_map("combined.mrc", level_enclosing(everyone, filled), COMBINED))
    level = level_enclosing(0.5 * (made.corrected[1] + made.corrected[2]), filled)
    hidden += [script.open_map(f"map_half{half}.mrc", level, colour) for half, colour in HALVES.items()]
    script.do(f"transparency #{before} 60", f"hide #{','.join(map(str, hidden))} models", "view")
    return script


def _said(run: Run, chosen: Chosen, state: State, recipe: Recipe, fsc: dict[str, Any]) -> dict[str, Any]:
    distance = state.everyone
    return {
        "name": chosen.name,
        "what": chosen.what,
        "particles": {f"half{half}": count for half, count in state.counts.items()},
        "images": {f"half{half}": count for half, count in state.images.items()},
        "rms_distance_A": float(np.sqrt(np.square(distance).mean())),
        "largest_distance_A": float(distance.max()),
        "halves_apart_A": state.apart,
        "particle_error_A": particle_error(run) or None,
        "latents": {f"half{half}": part.origin.tolist() for half, part in state.parts.items()},
        "resolution": {kind: fsc[kind]["resolution"] for kind in ("deformed", "rigid", "combined") if kind in fsc},
        "moving_part": {kind: curve["resolution"] for kind, curve in fsc.get("moving_part", {}).items()},
        "claim_limit": fsc["claim_limit"],
        "made_from": _made_from(run, chosen, recipe),
    }
