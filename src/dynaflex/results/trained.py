"""Asking a trained run: where do points go, what does a conformation look like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from dynaflex import ranks
from dynaflex.errors import UsageError
from dynaflex.imaging.noise import noise_weights
from dynaflex.imaging.noise_groups import GroupNoise
from dynaflex.imaging.pose_refinement import PoseRefinement
from dynaflex.inference.search import find_latents
from dynaflex.latents.posterior import Normal, Posterior
from dynaflex.latents.prior import LatentPrior
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.images import Imaging, ParticleImages, seen_as_on
from dynaflex.prepare.inputs import Inputs
from dynaflex.prepare.memory import in_smaller_batches
from dynaflex.results.settings import config_of as config_of
from dynaflex.results.settings import method_of as method_of
from dynaflex.run.directory import Run
from dynaflex.run.files import read_grids
from dynaflex.shapes import FloatArray, IntArray, Tensor
from dynaflex.training.checkpoint import fill, final, model_state
from dynaflex.training.final_latents import candidates

LANDMARKS = 200
"""Points that show how a molecule moves, where nobody asks for more."""
_AT_ONCE = 64

ALIGNMENT = "alignment.json"
_PARTICLES_AT_ONCE = 32


@dataclass(frozen=True)
class TrainedHalf:
    """The model of one half, with the latents of its particles; ``rows`` ``(p)`` are their rows in the input table.

    ``misfit`` ``(p)`` is the power that the model leaves of an image where the particle is, over that of the noise,
    relative to the mean over the half: far above 1 for what is no such particle. ``gain`` ``(p)`` is by how many nats
    the particle's own latents explain its image better than the mean latents of the half; fitted noise brings k / 2.
    ``contrast`` ``(p)`` is how strongly it shows, around 1. ``noise_power`` ``(s)`` is that of all its particles, and
    ``noise`` how optics groups differ in it.
    """

    half: int
    model: FlexModel
    rows: Tensor
    latents: Posterior
    noise_power: Tensor
    misfit: Tensor
    gain: Tensor
    contrast: Tensor
    poses: PoseRefinement | None = None
    noise: GroupNoise = field(default_factory=GroupNoise)

    def to(self, device: torch.device) -> TrainedHalf:
        """The same half with its model on a device."""
        return replace(self, model=self.model.to(device))

    @torch.no_grad()
    def displacements(self, latents: Tensor, points: Tensor) -> Tensor:
        """Displacements ``(b n 3)`` in Å of points ``(n 3)`` in the conformations ``latents`` ``(b k)``."""
        return torch.cat([
            self.model.deformation.displacement(part, points) for part in latents.split(_PARTICLES_AT_ONCE)
        ])  # fmt: skip

    def some_landmarks(self, most: int = LANDMARKS) -> Tensor:
        """At most so many points ``(n 3)`` of the density, evenly drawn."""
        points = self.model.density.landmarks().detach()
        generator = torch.Generator().manual_seed(0)
        return points[torch.randperm(len(points), generator=generator)[:most].sort().values]

    def latents_of(self, rows: list[int] | IntArray) -> Tensor:
        """Latents ``(b k)`` of the particles in these rows of the input table.

        Raises:
            UsageError: a row is not among the particles of this half.
        """
        return self.latents.mean[self.places_of(rows)]

    def places_of(self, rows: list[int] | IntArray) -> Tensor:
        """Where the particles in these rows of the input table stand among those of the half, ``(b)``.

        Raises:
            UsageError: a row is not among the particles of this half.
        """
        position = {int(row): i for i, row in enumerate(self.rows)}
        for row in rows:
            if int(row) not in position:
                raise UsageError(
                    "particles.other-half",
                    f"particle {int(row)} is not in half {self.half}, or was not used",
                    expected="rows of the input table, counted from 0",
                    fix="leave out --half to ask every particle's own half",
                )
        return torch.tensor([position[int(row)] for row in rows], dtype=torch.int64)


def embedded(half: TrainedHalf, data: HalfSet, prior: LatentPrior, seen: Tensor | None = None) -> Normal:
    """What a half's model makes, from nothing, of particles that it has not learned from; of all Fourier shells, or of
    the coefficients that are ``seen`` ``(h w)``."""
    weights = noise_weights(half.noise_power.to(data.device), data.grid)
    data = data.seen_in(half.noise)

    def found(mine: Tensor) -> tuple[Tensor, ...]:
        search = partial(
            find_latents,
            half.model,
            data.batch,
            mine,
            weights if seen is None else torch.where(seen, weights, 0.0),
            None,
            candidates(half.latents.mean).to(data.device),
            prior=prior,
            task=f"held-out latents, model of half {half.half}",
            series=data.series(mine),
        )
        latents = in_smaller_batches(search, _AT_ONCE)
        return latents.mean, latents.log_scale, latents.covariance

    return Normal(*ranks.rows(torch.arange(len(data)), found))


def load_half(run: Run, half: int, origin: Tensor | None = None) -> TrainedHalf:
    """The trained model and latents of one half. The conformation ``origin`` ``(k)`` is at rest, or the one that the
    run has chosen for all its maps.

    Raises:
        UsageError: the half has not been trained to its end.
        DamagedCheckpointError: the checkpoint of that end, or of the latents, does not verify.
        OtherVersionError: another version made it, of a model with other parts.
    """
    method, config = method_of(run), config_of(run)
    trained = half if half in config.trained_halves else 0
    latents, _ = run.require_checkpoint(f"latents{trained}")
    tensors = final(run, trained)
    state = model_state(tensors)
    model = method.empty_model(state, len(latents["rows"]), read_grids(run).train, config)
    fill(model, state, run)
    model.requires_grad_(False)
    rest = run.read_json(ALIGNMENT).get(f"half{half}") if origin is None else origin
    if rest is not None:
        model = method.rebase(model, torch.as_tensor(rest))
    mine = latents["halves"] == half
    poses = None
    if "poses" in tensors:
        poses = PoseRefinement(int(mine.sum())).requires_grad_(False)
        poses.table.weight.copy_(tensors["poses"][mine])
    # Runs of earlier versions have none of these.
    posterior = Posterior(latents["mean"][mine], latents["log_scale"][mine])
    if "covariance" in latents:
        posterior = Normal(posterior.mean, posterior.log_scale, latents["covariance"][mine])
    misfit, gain = (latents.get(name, torch.full((len(mine),), torch.nan))[mine] for name in ("misfit", "gain"))
    contrast = latents.get("contrast", torch.ones(len(mine)))[mine]
    rows, power = latents["rows"][mine], tensors["progress.noise_power"]
    return TrainedHalf(half, model, rows, posterior, power, misfit, gain, contrast, poses, noise_in(tensors))


def images_of(half: TrainedHalf, inputs: Inputs, imaging: Imaging, device: torch.device) -> ParticleImages:
    """The images of a half's particles for a map on the grid of ``imaging``: where poses have come to, as strongly as
    they show, in the noise of their groups."""
    particles = inputs.particles.take(inputs.members(half.half))
    images = ParticleImages(particles, imaging, device, half.poses, half.contrast)
    return seen_as_on(inputs.imaging, images, half.noise)


def noise_in(tensors: Mapping[str, Tensor]) -> GroupNoise:
    """How optics groups differ in their noise, by the ``tensors`` of a checkpoint; those of earlier versions do not."""
    if "progress.groups" not in tensors:
        return GroupNoise()
    return GroupNoise(tensors["progress.groups"], tensors["progress.group_noise"])


def contrast_in(halves: Iterable[TrainedHalf], rows: IntArray) -> Tensor:
    """The contrasts ``(n)`` of particles in some rows of the input table, each from its own half."""
    known = {int(row): float(value) for half in halves for row, value in zip(half.rows, half.contrast, strict=True)}
    return torch.tensor([known[int(row)] for row in rows])


def displacements(run: Path, points: FloatArray, particles: list[int], half: int | None = None) -> FloatArray:
    """Where points move in some particles of a run, each asked of its own half's model, or all of ``half``; see
    :func:`displacements_in`."""
    return displacements_in(load_halves(Run.open(run), half), points, particles)


def load_halves(run: Run, half: int | None = None) -> list[TrainedHalf]:
    """Both halves of a run, or one; errors as :func:`load_half`."""
    return [load_half(run, number) for number in ((1, 2) if half is None else (half,))]


def rows_of(halves: list[TrainedHalf]) -> list[int]:
    """The rows of all particles of the ``halves``, in rising order."""
    return sorted(int(row) for part in halves for row in part.rows)


def displacements_in(halves: list[TrainedHalf], points: FloatArray, particles: list[int]) -> FloatArray:
    """Where ``points`` ``(P 3)`` (x, y, z in Å, origin at the box centre) move in some particles: ``(n P 3)``.

    ``particles`` are rows of the input table from 0. Each is asked of the model of the half that it belongs to.

    Raises:
        UsageError: a particle is in none of the ``halves``.
    """
    where = torch.from_numpy(np.asarray(points, dtype=np.float32))
    if len(halves) == 1:
        return halves[0].displacements(halves[0].latents_of(particles), where).numpy()
    unknown = set(particles) - set(rows_of(halves))
    if unknown:
        raise UsageError(
            "particles.unknown",
            f"particle {min(unknown)} was not used in this run",
            expected="rows of the input table, counted from 0, that were not excluded",
            fix="--particles all takes those that were used",
        )
    out = np.empty((len(particles), len(where), 3), dtype=np.float32)
    for part in halves:
        own = set(part.rows.tolist())
        mine = [i for i, row in enumerate(particles) if row in own]
        out[mine] = part.displacements(part.latents_of([particles[i] for i in mine]), where).numpy()
    return out
