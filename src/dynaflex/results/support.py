"""Whether images that nothing was learned from support the motion of a run.

Each half's model sees particles that were held out: their latents are found from every other few of the Fourier
shells, as surely as these tell, and the remaining shells judge; and the other way round. They are predicted by a map
that was solved for with the motion, and by a rigid map that was solved for from the same particles in the same way: the
motion is all that differs, and what was fitted to the noise of an image does not count. A motion that is not there is
worse than none.

A whole that moves is seen in other poses, and that is no motion of the molecule; where poses err, it would be found. So
the motion must also gain over the rigid map of particles whose poses follow it as near as can be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch

from dynaflex import ranks, tell
from dynaflex.data.particles import Particles
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.noise import alternate_shells, noise_weights
from dynaflex.imaging.pose import Pose
from dynaflex.latents.posterior import Posterior
from dynaflex.losses.data import data_loss
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.inputs import Inputs
from dynaflex.prepare.memory import in_smaller_batches
from dynaflex.reconstruct.field import Region
from dynaflex.reconstruct.mesh_field import required_memory
from dynaflex.reconstruct.operator import Operator
from dynaflex.reconstruct.rigid import rigid_equations
from dynaflex.results.half_maps.made import SOLVERS, SWEEPS, Passes, both_maps
from dynaflex.results.trained import TrainedHalf, config_of, contrast_in, embedded, images_of, load_half, method_of
from dynaflex.run.directory import Run
from dynaflex.run.stop import Stop
from dynaflex.shapes import Array, Tensor
from dynaflex.validate.controls import SURE, mean_and_error
from dynaflex.workers.halves import Each, in_turn

SUPPORT = "support.json"
"""The file of a run that says what its held-out images gain."""
FEWEST, MOST = 20, 400
"""Fewer particles say nothing; more would say the same with a smaller error."""
_SOLVER, _SOLVED = "wiener", 2000
"""How maps are solved for, from at most so many particles of a half: it is what differs that counts."""
_AT_ONCE = 32
_LANDMARKS = 500
"""Points that say, at most, where the whole of a molecule goes."""
_DRAWS = 16
"""Conformations that stand for a particle: the fewer, the more its likelihood is underrated, that of others alike."""


@dataclass(frozen=True)
class Trial:
    """Particles seen by the model of one half: negative log-likelihoods ``(i)`` in nats of their images, on shells that
    the latents were not found from. Copies of a particle by symmetry are averaged.

    Of the map with the motion, with their ``own`` latents and with those of others, ``permuted``; of the ``rigid`` map
    from the same particles, and of that whose particles follow the motion as a ``whole``; of the trained density with
    the motion ``reversed``, and ``still``. ``displacement`` ``(p n 3)`` in Å is that of some landmarks with their own.
    """

    own: Array
    permuted: Array
    rigid: Array
    whole: Array
    reversed: Array
    still: Array
    displacement: Array


@dataclass(frozen=True)
class Support:
    """What the motion gains over the rigid map, over the motion of another particle, and over its own as a whole, in
    nats a held-out particle; with standard errors."""

    gain: float
    error: float
    over_others: float
    over_others_error: float
    over_whole: float
    over_whole_error: float

    @property
    def permuted(self) -> float:
        """What the motion of another particle gains over the rigid map."""
        return self.gain - self.over_others

    @property
    def whole(self) -> float:
        """What the motion of the whole, as other poses, gains over the rigid map."""
        return self.gain - self.over_whole

    @property
    def moves(self) -> bool:
        """Whether there is motion, if only of the whole: it surely gains more than nothing, and than that of others."""
        return self.gain > SURE * self.error and self.over_others > SURE * self.over_others_error

    @property
    def holds(self) -> bool:
        """Whether the motion is in the images: there is some, and it surely gains more than that of the whole."""
        return self.moves and self.over_whole > SURE * self.over_whole_error


def measure_support(run: Run, inputs: Inputs, device: torch.device, each: Each) -> None:
    """Write ``support.json``, unless it is there: the support of either half, where enough particles are held out.

    Both are measured by ``each``.
    """
    if run.files.has(SUPPORT):
        return
    held_out = inputs.images_held_out
    tried = {} if held_out < FEWEST else trials(run, inputs, device, each)
    found = {half: support(one) for half, one in tried.items()}
    for half, one in found.items():
        verdict = "supported" if one.holds else "not supported"
        tell.say(
            f"motion of half {half}: {verdict}; on images that were not used it gains {one.gain:+.1f} ± "
            f"{one.error:.1f} nats a particle over a rigid map, that of another particle {one.permuted:+.1f}, that of "
            f"the whole {one.whole:+.1f}"
        )
    run.write_json(SUPPORT, {"held_out": held_out, **{f"half{half}": asdict(one) for half, one in found.items()}})


def support(trial: Trial) -> Support:
    """The means of a trial."""
    over = (trial.rigid, trial.permuted, trial.whole)
    return Support(*(figure for losses in over for figure in mean_and_error(losses - trial.own)))


def trials(
    run: Run,
    inputs: Inputs,
    device: torch.device,
    each: Each = in_turn,
    *,
    most: int = MOST,
    landmarks: Tensor | None = None,
) -> dict[int, Trial]:
    """What both halves' models make of at most so many held-out particles, the same for both, asked by ``each``.

    ``landmarks`` ``(n 3)`` in Å are displaced; those of half 1 where they are left out.
    """
    halves = [load_half(run, half) for half in (1, 2)]
    points = halves[0].model.density.landmarks()[:1] if landmarks is None else landmarks
    particles = inputs.without_table().some_held_out(most)
    contrast = contrast_in(halves, particles.rows)
    trial = partial(_trial, run, inputs.without_table(), particles, contrast, points.detach(), device)
    return each(trial, (1, 2), required_memory(inputs.imaging.grid, _AT_ONCE))


def _trial(
    run: Run,
    inputs: Inputs,
    particles: Particles,
    contrast: Tensor,
    landmarks: Tensor,
    device: torch.device,
    half: int,
    _stop: Stop,
) -> Trial:
    trained = load_half(run, half).to(device)
    data = HalfSet(particles, half, inputs.imaging, device, contrast, trained.noise)
    return _tried(run, inputs, trained, data, landmarks.to(device))


@torch.no_grad()
def _tried(run: Run, inputs: Inputs, trained: TrainedHalf, data: HalfSet, landmarks: Tensor) -> Trial:
    """Both kinds of shells judge in turn; half 1 begins with one, half 2 with the other, so that the displacements that
    the two see in a particle share no noise."""
    weights = noise_weights(trained.noise_power.to(data.device), data.grid)
    maps = _solved(run, inputs, trained, data.device)
    side = alternate_shells(data.grid, data.device) == trained.half % 2
    means: list[Tensor] = []
    total: dict[str, Tensor] = {}
    for fitting in (side, ~side):
        found = embedded(trained, data, config_of(run).latent_prior, fitting)
        means.append(found.mean)
        for name, loss in _losses(trained, data, found, maps, torch.where(fitting, 0.0, weights)).items():
            total[name] = total.get(name, torch.zeros(())) + loss
    everyone = torch.arange(len(data))
    total = {name: data.per_particle(loss, everyone) for name, loss in total.items()}
    displacement = trained.displacements(means[0].to(landmarks), landmarks).double().cpu().numpy()
    return Trial(**{name: loss.double().cpu().numpy() for name, loss in total.items()}, displacement=displacement)


def _losses(trained: TrainedHalf, data: HalfSet, found: Posterior, maps: _Maps, weights: Tensor) -> dict[str, Tensor]:
    """The likelihoods of a :class:`Trial`, by the shells that ``weights`` ``(h w)`` leave; images of a tilt series have
    that of all of them."""
    model, device, everyone = trained.model, data.device, torch.arange(len(data))
    series, random = data.series(everyone), torch.Generator().manual_seed(0)
    noise = [series.each(series.one(torch.randn(found.mean.shape, generator=random))) for _ in range(_DRAWS)]
    draws = [found.sample(one).to(device) for one in noise]
    # Everybody gets the latents of another: the next in a random round.
    order = torch.randperm(series.count(len(data)), generator=random)
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    other = series.each(series.one(everyone)[other])
    still = model.deformed(found.mean.mean(dim=0, keepdim=True).to(device))
    points = trained.some_landmarks(_LANDMARKS)
    moves = model.deformation.at(points)
    names = ("own", "permuted", "rigid", "whole", "reversed", "still")

    def judged(mine: Tensor, size: int) -> tuple[Tensor, ...]:
        losses: dict[str, list[Tensor]] = {name: [] for name in names}
        for part in tell.each(data.parts(mine, size), f"held-out particles, model of half {trained.half}"):
            batch = data.batch(part)

            def loss(images: Tensor, batch: Batch = batch) -> Tensor:
                return batch.series.shared(data_loss(images, batch.coefficients, weights))

            def carried(of: Tensor, batch: Batch = batch) -> Tensor:
                return average([loss(maps.predicted("corrected", replace(batch, latents=z[of]))) for z in draws])

            def followed(z: Tensor, batch: Batch = batch) -> Tensor:
                pose = batch.pose.following(points, points + moves(z))
                return loss(maps.predicted("whole", replace(batch, pose=pose)))

            moved = model.deformed(found.mean[part].to(device))
            losses["own"].append(carried(part))
            losses["permuted"].append(carried(other[part]))
            losses["rigid"].append(loss(maps.predicted("rigid", batch)))
            losses["whole"].append(average([followed(z[part]) for z in draws]))
            losses["reversed"].append(loss(model.render(2.0 * still - moved, batch.pose, batch.ctf)))
            losses["still"].append(loss(model.render(still.expand_as(moved), batch.pose, batch.ctf)))
        return tuple(torch.cat(losses[name]) for name in names)

    losses = ranks.rows(everyone, lambda mine: in_smaller_batches(partial(judged, mine), _AT_ONCE))
    return dict(zip(names, losses, strict=True))


def average(losses: Sequence[Tensor]) -> Tensor:
    """The negative logarithm ``(p)`` of the mean of likelihoods, from the negative logarithm ``(p)`` of each: what an
    image of unknown conformation is judged by, if these are equally likely ones."""
    return math.log(len(losses)) - torch.stack([-one for one in losses]).logsumexp(dim=0)


@dataclass(frozen=True)
class _Maps:
    """Maps from the same particles of a half, of those in training, as voxels ``(n)``: the corrected one, the rigid
    one, and that of the poses in which the motion has the whole."""

    operator: Operator
    voxels: Mapping[str, Tensor]

    def predicted(self, name: str, batch: Batch) -> Tensor:
        """The images of a batch by the map ``name``, ``(b h w)``."""
        return self.operator.apply(self.voxels[name], batch)


def _solved(run: Run, inputs: Inputs, trained: TrainedHalf, device: torch.device) -> _Maps:
    grid = inputs.imaging.grid
    learned = inputs.learned_from(trained.half)
    images = images_of(trained, inputs, inputs.imaging, device)
    count = images.count(learned)
    learned = learned[images.series(learned).images_of(torch.arange(0, count, -(-count // _SOLVED)))]
    region, latents = Region.sphere(grid, device), trained.latents.mean
    operator = Operator(method_of(run).field(run, trained.model, latents, region), trained.noise_power.to(device))
    task = f"maps to judge half {trained.half} by"
    rigid, corrected = both_maps(operator, Passes(images, task, SWEEPS[_SOLVER], latents, learned), _SOLVER)
    follow = images.posed(_as_a_whole(trained, images.pose, learned))
    batches = Passes(follow, f"{task}, as a whole", 1, latents, learned)
    whole = SOLVERS[_SOLVER](rigid_equations(grid, batches, operator.noise_power))
    # Noise around the molecule would be judged too: the more of it, the larger the box.
    inside = inputs.mask_on(grid).to(device)
    maps = {"rigid": rigid, "corrected": corrected, "whole": whole}
    return _Maps(operator, {name: region.from_volume(volume * inside) for name, volume in maps.items()})


def _as_a_whole(trained: TrainedHalf, pose: Pose, index: Tensor) -> Pose:
    """The poses of a half's particles, of those ``index`` ``(q)`` where the motion has the whole."""
    points = trained.some_landmarks(_LANDMARKS)
    moves = trained.model.deformation.at(points)
    rotation, shift = pose.rotation.clone(), pose.shift.clone()
    for part in index.split(_AT_ONCE):
        here = part.to(shift.device)
        whole = pose[here].following(points, points + moves(trained.latents.mean[part].to(points)))
        rotation[here], shift[here] = whole.rotation, whole.shift
    return Pose(rotation, shift)
