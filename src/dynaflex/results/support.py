"""Whether images that nothing was learned from support the motion of a run.

Each half's model sees particles that were held out: their latents are found from every other few of the Fourier
shells, and the remaining shells judge. They are predicted by a map that was solved for with the motion, and by a rigid
map that was solved for from the same particles in the same way: the motion is all that differs, and what was fitted to
the noise of an image does not count. A motion that is not there is worse than none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
import torch

from dynaflex import inference, tell
from dynaflex.imaging.noise import alternate_shells, noise_weights
from dynaflex.losses.data import data_loss
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.images import ParticleImages
from dynaflex.prepare.inputs import Inputs
from dynaflex.reconstruct.backproject import RampFilter
from dynaflex.reconstruct.operator import Operator
from dynaflex.results.maps import SOLVERS, SWEEPS, Passes
from dynaflex.results.trained import TrainedHalf, config_of, contrast_in, load_half, method_of
from dynaflex.run.directory import Run
from dynaflex.shapes import Array, Tensor
from dynaflex.validate.controls import SURE, mean_and_error

SUPPORT = "support.json"
"""The file of a run that says what its held-out images gain."""
FEWEST, MOST = 20, 400
"""Fewer particles say nothing; more would say the same with a smaller error."""
_SOLVER, _SOLVED = "wiener", 2000
"""How both maps are solved for, from at most so many particles of a half: it is their difference that counts."""
_CANDIDATES, _AT_ONCE = 16, 32


@dataclass(frozen=True)
class Trial:
    """Particles seen by the model of one half: negative log-likelihoods ``(p)`` in nats, on shells that the latents
    were not found from.

    Of the map with the motion, with their ``own`` latents and with those of others, ``permuted``; of the ``rigid`` map
    from the same particles; of the trained density with the motion ``reversed``, and ``still``. ``displacement``
    ``(p n 3)`` in Å is that of some landmarks with their own.
    """

    own: Array
    permuted: Array
    rigid: Array
    reversed: Array
    still: Array
    displacement: Array


@dataclass(frozen=True)
class Support:
    """What the motion gains over the rigid map, and over the motion of another particle, in nats a held-out particle;
    with standard errors."""

    gain: float
    error: float
    over_others: float
    over_others_error: float

    @property
    def permuted(self) -> float:
        """What the motion of another particle gains over the rigid map."""
        return self.gain - self.over_others

    @property
    def holds(self) -> bool:
        """Whether the motion is in the images: it surely gains more than nothing, and than the motion of others."""
        return self.gain > SURE * self.error and self.over_others > SURE * self.over_others_error


def measure_support(run: Run, inputs: Inputs, device: torch.device) -> None:
    """Write ``support.json``, unless it is there: the support of either half, where enough particles are held out."""
    if run.files.has(SUPPORT):
        return
    held_out = int(inputs.held_out.sum())
    found = {} if held_out < FEWEST else {half: support(one) for half, one in trials(run, inputs, device).items()}
    for half, one in found.items():
        verdict = "supported" if one.holds else "not supported"
        tell.say(
            f"motion of half {half}: {verdict}; on images that were not used it gains {one.gain:+.1f} ± "
            f"{one.error:.1f} nats a particle over a rigid map, that of another particle {one.permuted:+.1f}"
        )
    run.write_json(SUPPORT, {"held_out": held_out, **{f"half{half}": asdict(one) for half, one in found.items()}})


def support(trial: Trial) -> Support:
    """The means of a trial."""
    return Support(*mean_and_error(trial.rigid - trial.own), *mean_and_error(trial.permuted - trial.own))


def trials(
    run: Run, inputs: Inputs, device: torch.device, most: int = MOST, landmarks: Tensor | None = None
) -> dict[int, Trial]:
    """What both halves' models make of at most so many held-out particles, the same for both.

    ``landmarks`` ``(n 3)`` in Å are displaced; those of half 1 where they are left out.
    """
    chosen = np.sort(np.random.default_rng(0).permutation(np.flatnonzero(inputs.held_out))[:most])
    halves = {half: load_half(run, half) for half in (1, 2)}
    points = halves[1].model.density.landmarks()[:1] if landmarks is None else landmarks
    particles = inputs.particles.take(chosen)
    contrast = contrast_in(halves.values(), particles.rows)
    found = {}
    for half, trained in halves.items():
        data = HalfSet(particles, half, inputs.imaging, device, contrast)
        found[half] = _tried(run, inputs, trained.to(device), data, points.to(device))
    return found


@torch.no_grad()
def _tried(run: Run, inputs: Inputs, trained: TrainedHalf, data: HalfSet, landmarks: Tensor) -> Trial:
    model, prior, device = trained.model, config_of(run).latent_prior, data.device
    weights = noise_weights(trained.noise_power.to(device), data.grid)
    side = alternate_shells(data.grid, device) == trained.half % 2
    fitting, judging = torch.where(side, weights, 0.0), torch.where(side, 0.0, weights)
    k = trained.latents.mean.shape[1]
    step = max(1, len(trained.rows) // _CANDIDATES)
    candidates = torch.cat([torch.zeros(1, k), trained.latents.mean[::step][:_CANDIDATES]]).to(device)
    everyone = torch.arange(len(data))
    own = inference.find_latents(
        model, data.batch, everyone, fitting, None, candidates,
        prior=prior, task=f"held-out latents, model of half {trained.half}",
    ).mean.to(device)  # fmt: skip
    # Everybody gets the latents of another: the next in a random round.
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    other = torch.empty_like(own)
    other[order] = own[order.roll(1)]
    operator, maps = _solved(run, inputs, trained, device)
    still = model.deformed(own.mean(dim=0, keepdim=True))
    losses: dict[str, list[Tensor]] = {"own": [], "permuted": [], "rigid": [], "reversed": [], "still": []}
    for part in tell.each(everyone.split(_AT_ONCE), f"held-out particles, model of half {trained.half}"):
        batch = data.batch(part)
        moved = model.deformed(own[part])
        predicted = {
            "own": operator.apply(maps["corrected"], replace(batch, latents=own[part])),
            "permuted": operator.apply(maps["corrected"], replace(batch, latents=other[part])),
            "rigid": operator.apply(maps["rigid"], batch),
            "reversed": model.render(2.0 * still - moved, batch.pose, batch.ctf),
            "still": model.render(still.expand_as(moved), batch.pose, batch.ctf),
        }
        for name, images in predicted.items():
            losses[name].append(data_loss(images, batch.coefficients, judging))
    displacement = trained.displacements(own, landmarks).double().cpu().numpy()
    values = {name: torch.cat(parts).double().cpu().numpy() for name, parts in losses.items()}
    return Trial(**values, displacement=displacement)


def _solved(
    run: Run, inputs: Inputs, trained: TrainedHalf, device: torch.device
) -> tuple[Operator, Mapping[str, Tensor]]:
    """A corrected and a rigid map, as voxels ``(n)``, from the same particles of a half: of those in training."""
    grid = inputs.imaging.grid
    members = inputs.members(trained.half)
    learned = torch.from_numpy(np.flatnonzero(~inputs.held_out[members]))
    learned = learned[:: -(-len(learned) // _SOLVED)]
    particles = inputs.particles.take(members)
    images = ParticleImages(particles, inputs.imaging, device, trained.poses, trained.contrast)
    passes = partial(Passes, images, among=learned)
    operator = Operator(method_of(run).field(run, trained.model, grid, device), trained.noise_power.to(device))
    ramp = RampFilter(operator, passes(f"filter to judge half {trained.half} by", 1))
    maps = {}
    for name, latents in (("rigid", None), ("corrected", trained.latents.mean)):
        batches = passes(f"{name} map to judge half {trained.half} by", SWEEPS[_SOLVER], latents)
        maps[name] = operator.field.from_volume(SOLVERS[_SOLVER](operator, batches, ramp))
    return operator, maps
