"""The maps of a run: corrected and rigid half-maps, the merged map, and every FSC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree

from dynaflex import fourier, tell
from dynaflex.analyze.domains import moving_part
from dynaflex.data.preprocess import require_crop
from dynaflex.errors import NumericalError, UsageError
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.io.mrc import write_map
from dynaflex.prepare.images import Imaging, ParticleImages
from dynaflex.prepare.inputs import Inputs
from dynaflex.prepare.place import place_of
from dynaflex.reconstruct import lbfgs
from dynaflex.reconstruct.equations import Equations, backproject
from dynaflex.reconstruct.field import Field, Region
from dynaflex.reconstruct.iterative import ITERATIONS, solve
from dynaflex.reconstruct.lbfgs import solve_lbfgs
from dynaflex.reconstruct.mesh_field import required_memory
from dynaflex.reconstruct.motion_field import motion_field
from dynaflex.reconstruct.operator import Operator
from dynaflex.reconstruct.postprocess import merge, sharpen, soft_mask, symmetrise
from dynaflex.reconstruct.prior import signal_to_noise_prior
from dynaflex.reconstruct.rigid import RigidProblem
from dynaflex.results.inverse import learn_inverse
from dynaflex.results.trained import TrainedHalf, config_of, load_half, method_of
from dynaflex.rotations import point_group
from dynaflex.run.directory import Run
from dynaflex.run.files import FSC, read_motion
from dynaflex.run.stop import Stop
from dynaflex.shapes import Tensor
from dynaflex.validate.fsc import FscCurves, fourier_shell_correlation, fsc_curves
from dynaflex.validate.local_resolution import local_resolution
from dynaflex.workers.halves import Each, in_turn

SOLVERS: dict[str, Callable[[Equations], Tensor]] = {
    "iterative": solve,
    "wiener": partial(solve, prior=signal_to_noise_prior),
    "lbfgs": solve_lbfgs,
    "backprojection": backproject,
}
"""``solver(equations)`` gives a map ``(d d d)``."""

SWEEPS = {"iterative": 1 + ITERATIONS, "wiener": 1 + ITERATIONS, "lbfgs": 1 + lbfgs.ITERATIONS, "backprojection": 1}
"""How often all particles are asked for: once for the right-hand side, and then by each solver."""

_AT_ONCE = 16
_MOVING_REACH = 5.0


def reconstruct_run(
    run: Run,
    inputs: Inputs,
    device: torch.device,
    each: Each = in_turn,
    *,
    solver: str = "iterative",
    field: str = "decoder",
    box: int | None = None,
    symmetry: str = "C1",
    b_factor: float | None = None,
) -> None:
    """Half-maps with and without the deformation, the merged map and the FSCs, into ``maps/`` and the JSON files.

    Those of the halves are made by ``each``, by one of ``SOLVERS``. ``field`` says where a voxel's density is gathered:
    where the decoder sends it, or along the learned ``inverse``. A ``symmetry`` is imposed on the finished half-maps,
    the control's too: motion breaks it, what moves may have it. ``b_factor`` in Å² sharpens the merged map, if
    negative; the locally filtered one is not sharpened. ``fsc.json`` comes last: a run that has it has all its maps.

    Raises:
        UsageError: the inverse was asked for of a motion that a mesh carries, there is no such symmetry, or images
            cannot be cropped to the box. Then all files are as they were.
    """
    if field == "inverse":
        _require_no_mesh(run)
    group = point_group(symmetry)
    imaging = inputs.full_imaging
    if box is not None:
        require_crop(box, imaging.grid.box)
        imaging = imaging.on(imaging.grid.cropped(box))
    grid = imaging.grid
    run.files.forget(FSC)
    need = required_memory(grid, _AT_ONCE)
    tell.say(f"reconstruction in a box of {grid.box}: at most {need / 1e9:.1f} GB a half")
    models: dict[int, Tensor] = {}
    volumes: dict[str, Tensor] = {}
    mask = fourier.resize(inputs.mask, grid.box, 3).clamp(0.0, 1.0)
    from_half = partial(_from_half, run, inputs.without_table(), imaging, mask, device, solver, field)
    for half, (model, rigid, corrected) in each(from_half, (1, 2), need).items():
        models[half] = model
        for name, label, volume in (("rigid", "rigid", rigid), ("map", "corrected", corrected)):
            _require_finite(volume, f"the {label} map of half {half}")
            if len(group) > 1:
                volume = symmetrise(volume, group)
            volumes[f"{name}_half{half}"] = volume
            _write(run, f"{name}_half{half}", volume, grid)
    _write(run, "mask", mask, grid)
    claim_limit = _claim_limit(run, inputs)

    def compare(where: Tensor) -> dict[str, FscCurves]:
        return {
            name: fsc_curves(volumes[f"{key}_half1"], volumes[f"{key}_half2"], grid.pixel_size, where)
            for name, key in (("deformed", "map"), ("rigid", "rigid"))
        }

    whole = compare(mask)
    merged = merge(volumes["map_half1"], volumes["map_half2"], whole["deformed"].corrected)
    if b_factor is not None:
        merged = sharpen(merged, grid, b_factor)
    _write(run, "map", merged, grid)
    with tell.doing("local resolution"):
        local = local_resolution(volumes["map_half1"], volumes["map_half2"], grid.pixel_size, mask)
    _write(run, "local_resolution", local.resolution, grid)
    _write(run, "map_local", local.filtered, grid)
    moving = _moving_part(run, grid)
    curves: dict[str, Any] = {name: curve.as_dict(claim_limit) for name, curve in whole.items()}
    if moving is not None:
        _write(run, "moving_part_mask", moving, grid)
        curves["moving_part"] = {name: curve.as_dict(claim_limit) for name, curve in compare(moving).items()}
    _compare_models(run, inputs, models, volumes, grid)
    _map_of_errors(run, grid)
    run.write_json(FSC, curves | {"claim_limit": claim_limit})


def _from_half(
    run: Run,
    inputs: Inputs,
    imaging: Imaging,
    mask: Tensor,
    device: torch.device,
    solver: str,
    field: str,
    half: int,
    _stop: Stop,
) -> tuple[Tensor, Tensor, Tensor]:
    """The trained density of a half, and the rigid and the corrected map of its particles, each ``(d d d)``."""
    trained = load_half(run, half).to(device)
    particles = inputs.particles.take(inputs.members(half))
    images = ParticleImages(particles, imaging, device, trained.poses, trained.contrast)
    operator = Operator(_field(field, run, trained, Region.around(mask.to(device), imaging.grid)))
    batches = Passes(images, f"maps of half {half}", SWEEPS[solver], trained.latents.mean)
    rigid, corrected = both_maps(operator, batches, solver)
    return trained.model.density.volume(imaging.grid).cpu(), rigid.cpu(), corrected.cpu()


def _require_no_mesh(run: Run) -> None:
    if load_half(run, 1).model.density.table is not None:
        raise UsageError(
            "reconstruct.no-inverse", "a mesh carries the density of this run, and no inverse of its motion is learned",
            file=run.path, field="--field", expected="decoder", found="inverse", fix="leave out --field inverse",
        )  # fmt: skip


def _require_finite(volume: Tensor, name: str) -> None:
    """Refuse to write a map that is not one.

    Raises:
        NumericalError: a voxel is not finite.
    """
    lost = int((~volume.isfinite()).sum())
    if lost:
        raise NumericalError(
            "map.not-finite",
            f"{name} has voxels that are not finite, and is not written",
            found=f"{lost} of {volume.numel()} voxels",
            fix="look for broken images with dynaflex check, or use --solver backprojection",
        )


def _claim_limit(run: Run, inputs: Inputs) -> float | None:
    """The resolution in Å inside of which agreement of the half-maps proves nothing, because they had it in common."""
    config = config_of(run)
    if config.half_sets == "shared":
        return 1.0 / inputs.imaging.grid.nyquist
    return None if inputs.independent_starts else config.shared_resolution


def both_maps(operator: Operator, batches: Passes, solver: str) -> tuple[Tensor, Tensor]:
    """The rigid and the corrected map ``(d d d)`` of the same particles, by one of ``SOLVERS``.

    Every image is read once for both; the rigid map asks for nothing more. Outside of the region that the operator's
    field moves, both are the rigid map.
    """
    rigid = RigidProblem(operator.field.grid, operator.noise_power)
    halves = operator.back_in_two(rigid.added(batches()))
    still = rigid.equations()
    at_rest = SOLVERS[solver](still)
    corrected = SOLVERS[solver](operator.equations_of(halves, batches, still.ramp))
    moving = operator.field.region.to_volume(torch.ones_like(halves[0])) > 0.0
    return at_rest, torch.where(moving, corrected, at_rest)


def _field(field: str, run: Run, trained: TrainedHalf, region: Region) -> Field:
    """Where the voxels of a region go in the particles of a half."""
    if field == "decoder":
        return method_of(run).field(run, trained.model, trained.latents.mean, region)
    inverse = torch.no_grad()(learn_inverse(run, trained, config_of(run).seed).pull)
    return motion_field(
        region, lambda points: lambda latents: inverse(latents, points), trained.latents.mean,
        trained.model.density.points(),
    )  # fmt: skip


@dataclass
class Passes:
    """Batches over the particles of a half, again and again, telling how far all of them together are.

    They have ``latents`` ``(p k)``. Where particles are named, they are ``among`` ``(q)`` these.
    """

    images: ParticleImages
    task: str
    sweeps: int
    latents: Tensor
    among: Tensor | None = None
    done: int = 0

    def __call__(self) -> Iterator[Batch]:
        """One sweep over all particles."""
        everyone = torch.arange(len(self.images)) if self.among is None else self.among
        for part in everyone.split(_AT_ONCE):
            yield self.images.batch(part, latents=self.latents[part])
            self.done += len(part)
            tell.progress(self.task, self.done, self.sweeps * len(everyone))


def _compare_models(
    run: Run, inputs: Inputs, models: dict[int, Tensor], volumes: dict[str, Tensor], grid: Grid
) -> None:
    """FSC of each half's trained density to the consensus it started from and to the final half-map."""
    curves: dict[str, Any] = {}
    full, resolution = inputs.full_imaging.grid, config_of(run).shared_resolution
    starts = {half: fourier.low_pass(volume, full, resolution) for half, volume in inputs.consensus.items()}
    for half, model in models.items():
        _write(run, f"model_half{half}", model, grid)
        start = fourier.resize(starts[half], grid.box, 3)
        curves[f"half{half}"] = {
            "frequency": grid.shell_frequencies().tolist(),
            "consensus": fourier_shell_correlation(model, start).tolist(),
            "final": fourier_shell_correlation(model, volumes[f"map_half{half}"]).tolist(),
        }
    run.write_json("model_fsc.json", curves)


def _moving_part(run: Run, grid: Grid) -> Tensor | None:
    """A soft mask around the points of the part that moves; None where nothing does."""
    motion = read_motion(run)
    moves = moving_part(motion.rms_displacement)
    if not moves.any():
        return None
    distance, _ = cKDTree(motion.points[moves]).query(grid.points().numpy())
    nearby = torch.from_numpy(-distance.astype(np.float32)).view(grid.box, grid.box, grid.box)
    return soft_mask(nearby, grid, -_MOVING_REACH)


def _map_of_errors(run: Run, grid: Grid, reach: float = 10.0) -> None:
    """``deformation_error.mrc``: the error in Å of the nearest Gaussian, for voxels within ``reach`` Å of one."""
    motion = read_motion(run)
    distance, nearest = cKDTree(motion.points).query(grid.points().numpy(), distance_upper_bound=reach)
    error = np.append(motion.error, np.float32(0.0))[np.where(np.isfinite(distance), nearest, len(motion.error))]
    _write(run, "deformation_error", torch.from_numpy(error).view((grid.box,) * 3), grid)


def _write(run: Run, name: str, volume: Tensor, grid: Grid) -> None:
    """Write a map of the run, ``map`` as ``maps/map.mrc``."""
    with run.files.writing(f"maps/{name}.mrc") as path:
        write_map(path, volume.numpy(), grid.pixel_size, place_of(run, grid))
