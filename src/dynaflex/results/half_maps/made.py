"""Half-maps of particles that move, by every way of solving for them, and their rigid control."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch

from dynaflex import ranks, tell
from dynaflex.data.preprocess import require_crop
from dynaflex.errors import NumericalError, UsageError
from dynaflex.grid import Grid
from dynaflex.imaging.batch import Batch
from dynaflex.prepare.images import Imaging, ParticleImages
from dynaflex.prepare.inputs import Inputs
from dynaflex.reconstruct import lbfgs
from dynaflex.reconstruct.equations import Equations, backproject
from dynaflex.reconstruct.field import Field, Region
from dynaflex.reconstruct.iterative import ITERATIONS, solve
from dynaflex.reconstruct.lbfgs import solve_lbfgs
from dynaflex.reconstruct.mesh_field import required_memory
from dynaflex.reconstruct.motion_field import motion_field
from dynaflex.reconstruct.operator import Operator
from dynaflex.reconstruct.postprocess import from_unit, symmetrise
from dynaflex.reconstruct.prior import signal_to_noise_prior
from dynaflex.reconstruct.rigid import RigidProblem
from dynaflex.results.half_maps.inverse import learn_inverse
from dynaflex.results.trained import TrainedHalf, config_of, images_of, load_half, method_of
from dynaflex.rotations import point_group
from dynaflex.run.directory import Run
from dynaflex.run.stop import Stop
from dynaflex.shapes import Tensor
from dynaflex.workers.halves import Each

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


@dataclass(frozen=True)
class Recipe:
    """How maps are made: by one of ``SOLVERS``, in a Fourier-cropped ``box``, that of the images if None.

    ``field`` says where a voxel's density is gathered: where the decoder sends it, or along the learned ``inverse``. A
    ``symmetry`` is imposed on the finished half-maps, the control's too: motion breaks it, what moves may have it. It
    is the run's if None; of a run with one the corrected map is that of the asymmetric unit, which alone moved, put in
    place of all.
    ``b_factor`` in Å² sharpens the merged map, if negative; the locally filtered one is not sharpened.
    """

    solver: str = "iterative"
    field: str = "decoder"
    box: int | None = None
    symmetry: str | None = None
    b_factor: float | None = None

    def imaging(self, run: Run, inputs: Inputs) -> Imaging:
        """How the images of a run are seen for its maps.

        Raises:
            UsageError: the inverse was asked for of a motion that a mesh carries, there is no such symmetry, the run
                has another, or images cannot be cropped to the box.
        """
        if self.field == "inverse":
            _require_no_mesh(run)
        self.group(run, inputs)
        imaging = inputs.full_imaging
        if self.box is None:
            return imaging
        require_crop(self.box, imaging.grid.box)
        return imaging.on(imaging.grid.cropped(self.box))

    def group(self, run: Run, inputs: Inputs) -> Tensor:
        """The rotations ``(g 3 3)`` that the half-maps get.

        Raises:
            UsageError: there is no such group, or the run has another.
        """
        own, asked = config_of(run).symmetry, self.symmetry
        if asked is not None and inputs.unit is not None and asked.strip().upper() != own.strip().upper():
            raise UsageError(
                "reconstruct.other-symmetry", "one unit of this run was learned, and makes a map by its symmetry only",
                file=run.path, field="--symmetry", expected=own, found=asked, fix="leave out --symmetry",
            )  # fmt: skip
        return inputs.group if asked is None else point_group(asked)


AS_USUAL = Recipe()


@dataclass(frozen=True)
class Part:
    """Some particles of a half, at the places ``index`` ``(q)`` among its own, and the latents ``origin`` ``(k)`` of
    the conformation that their map is to show."""

    index: Tensor
    origin: Tensor


@dataclass(frozen=True)
class HalfMaps:
    """The ``corrected`` and the ``rigid`` map of each half, and the density of its ``model`` ``(d d d)``; ``mask``
    ``(d d d)`` is where the molecule is in them. Of a state also what all particles of a half show there, ``combined``,
    if that is known."""

    grid: Grid
    mask: Tensor
    corrected: dict[int, Tensor]
    rigid: dict[int, Tensor]
    model: dict[int, Tensor]
    combined: dict[int, Tensor] = field(default_factory=dict)

    def named(self) -> dict[str, Tensor]:
        """The maps of images by the names of their files."""
        maps = {f"map_half{half}": volume for half, volume in self.corrected.items()}
        maps |= {f"rigid_half{half}": volume for half, volume in self.rigid.items()}
        return maps | {f"combined_half{half}": volume for half, volume in self.combined.items()}


def make_half_maps(
    run: Run,
    inputs: Inputs,
    imaging: Imaging,
    mask: Tensor,
    device: torch.device,
    each: Each,
    recipe: Recipe,
    parts: Mapping[int, Part] | None = None,
) -> HalfMaps:
    """The maps of all particles of both halves in the conformation where each half rests, or of some ``parts``.

    ``imaging`` is that of the ``recipe``, ``mask`` ``(d d d)`` is on its grid. Nothing of one half is asked for the
    maps of the other.

    Raises:
        NumericalError: a voxel is not finite.
    """
    group, need = recipe.group(run, inputs), required_memory(imaging.grid, _AT_ONCE)
    tell.say(f"reconstruction in a box of {imaging.grid.box}: at most {need / 1e9:.2g} GB a half")
    from_half = partial(_from_half, run, inputs.without_table(), imaging, mask, device, recipe, parts or {})
    made = HalfMaps(imaging.grid, mask, {}, {}, {})
    for half, (model, rigid, corrected) in each(from_half, (1, 2), need).items():
        made.model[half] = model
        for kind, label, volume, unit in (
            (made.rigid, "rigid", rigid, None),
            (made.corrected, "corrected", corrected, inputs.unit),
        ):
            _require_finite(volume, f"the {label} map of half {half}")
            kind[half] = finished(volume, group, unit)
    return made


def finished(volume: Tensor, group: Tensor, unit: Tensor | None) -> Tensor:
    """A half-map ``(d d d)`` with the symmetry of a ``group`` ``(g 3 3)``: if the asymmetric ``unit`` alone moved, with
    that in place of all."""
    if unit is not None:
        return from_unit(volume, unit, group)
    return symmetrise(volume, group) if len(group) > 1 else volume


def _from_half(
    run: Run,
    inputs: Inputs,
    imaging: Imaging,
    mask: Tensor,
    device: torch.device,
    recipe: Recipe,
    parts: Mapping[int, Part],
    half: int,
    _stop: Stop,
) -> tuple[Tensor, Tensor, Tensor]:
    """The trained density of a half, and the rigid and the corrected map of its particles, each ``(d d d)``."""
    part = parts.get(half)
    trained = load_half(run, half, None if part is None else part.origin).to(device)
    images = images_of(trained, inputs, imaging, device)
    among = None if part is None else part.index
    batches = Passes(images, f"maps of half {half}", SWEEPS[recipe.solver], trained.latents.mean, among)
    region = Region.around(mask.to(device), imaging.grid)
    operator = Operator(_field(recipe.field, run, trained, batches.conformations, region))
    rigid, corrected = both_maps(operator, batches, recipe.solver)
    return trained.model.density.volume(imaging.grid).cpu(), rigid.cpu(), corrected.cpu()


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


@dataclass
class Passes:
    """Batches over a rank's share of the particles of a half, again and again, telling how far all of them together
    are.

    They have ``latents`` ``(p k)``. Where particles are named, they are ``among`` ``(q)`` these.
    """

    images: ParticleImages
    task: str
    sweeps: int
    latents: Tensor
    among: Tensor | None = None
    done: int = 0

    @property
    def conformations(self) -> Tensor:
        """The latents ``(q k)`` of those that are asked for."""
        return self.latents if self.among is None else self.latents[self.among]

    def __call__(self) -> Iterator[Batch]:
        """One sweep over all particles."""
        everyone = torch.arange(len(self.images)) if self.among is None else self.among
        total, mine = self.sweeps * len(everyone), ranks.share_of_pairs(everyone)
        for part in mine.split(_AT_ONCE) if len(mine) else ():
            yield self.images.batch(part, latents=self.latents[part])
            self.done += len(part) * ranks.size()
            tell.progress(self.task, min(self.done, total), total)


def _field(kind: str, run: Run, trained: TrainedHalf, latents: Tensor, region: Region) -> Field:
    """Where the voxels of a region go in particles of a half with these ``latents`` ``(q k)``."""
    if kind == "decoder":
        return method_of(run).field(run, trained.model, latents, region)
    inverse = torch.no_grad()(learn_inverse(run, trained, config_of(run).seed).pull)
    return motion_field(
        region, lambda points: lambda z: inverse(z, points), latents, trained.model.density.points()
    )  # fmt: skip


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
