"""The latents of all particles of a half, found under its final model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch

from dynaflex import fourier, ranks, tell
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.noise import noise_weights
from dynaflex.inference.search import find_latents
from dynaflex.latents.posterior import Normal
from dynaflex.losses.data import data_loss
from dynaflex.prepare.memory import in_smaller_batches
from dynaflex.run.directory import Run
from dynaflex.shapes import Tensor
from dynaflex.training.method import Trainer

_CANDIDATES = 16
_AT_ONCE = 64


def find_final_latents(run: Run, trainer: Trainer) -> None:
    """Latents of the half's own particles: from where training has left them or from another conformation, whichever
    is likelier; those held out, from nothing."""
    data = trainer.data
    search = _Search(trainer, noise_weights(trainer.progress.noise_power, data.grid))
    found = search.everyone()
    rows = torch.from_numpy(data.particles.rows)
    _leave_at_the_prior(found, rows, run, data.half)
    contrast = _contrasts(search, found.mean)
    misfit, gain = _fit(search, found.mean)
    run.save_checkpoint(
        f"latents{data.half}",
        0,
        {
            "mean": found.mean,
            "log_scale": found.log_scale,
            "covariance": found.covariance,
            "misfit": misfit,
            "gain": gain,
            "contrast": contrast,
            "rows": rows,
            "halves": torch.from_numpy(data.particles.half),
        },
        {"half": data.half},
    )


@dataclass(frozen=True)
class _Search:
    """For the latents of a half's particles under the model that its ``trainer`` has trained, with the ``weights``
    ``(h w)`` of image coefficients."""

    trainer: Trainer
    weights: Tensor

    def everyone(self) -> Normal:
        """The latents of all particles ``(p k)``."""
        data, training, half = self.trainer.data, self.trainer.training, self.trainer.data.half
        count, latent_dim = len(data), self.trainer.config.latent_dim
        every = Normal.of(torch.zeros(count, latent_dim), torch.eye(latent_dim).repeat(count, 1, 1))
        stood = torch.zeros(count, latent_dim)
        stood[training] = ranks.rows(training, self._stood).cpu()
        starts = candidates(stood[training]).to(data.device)

        def trained(mine: Tensor) -> tuple[Tensor, ...]:
            return self._found(mine, stood[mine], starts, f"latents of half {half}")

        _put(every, training, Normal(*ranks.rows(training, trained)))
        held_out = data.without(training)
        if len(held_out) > 0:
            task = f"latents held out of half {half}"
            _put(every, held_out, Normal(*ranks.rows(held_out, lambda mine: self._found(mine, None, starts, task))))
        return every

    @torch.no_grad()
    def batch(self, index: Tensor) -> Batch:
        """The images ``index`` ``(b)``, in the poses that they have come to."""
        found, poses = self.trainer.data.batch(index), self.trainer.poses
        return found if poses is None else replace(found, pose=poses.corrected(found.index, found.pose))

    @torch.no_grad()
    def _stood(self, mine: Tensor) -> Tensor:
        """The latents ``(p k)`` that training has left the particles ``mine`` ``(p)`` with."""
        latents = self.trainer.model.latents
        return torch.cat([
            mean
            for part in self.trainer.data.parts(mine, 256)
            for mean in self.trainer.data.batch(part).in_pieces(lambda batch: latents.posterior(batch).mean)
        ])  # fmt: skip

    def _found(self, mine: Tensor, start: Tensor | None, starts: Tensor, task: str) -> tuple[Tensor, ...]:
        trainer = self.trainer
        search = partial(
            find_latents, trainer.model, self.batch, mine, self.weights, start, starts,
            prior=trainer.config.latent_prior, task=task, series=trainer.data.series(mine),
        )  # fmt: skip
        latents = in_smaller_batches(search, _AT_ONCE)
        return latents.mean, latents.log_scale, latents.covariance


def _put(every: Normal, index: Tensor, found: Normal) -> None:
    every.mean[index], every.log_scale[index] = found.mean, found.log_scale
    every.covariance[index] = found.covariance


def _leave_at_the_prior(found: Normal, rows: Tensor, run: Run, half: int) -> None:
    """Take latents for the prior's that are not finite, and warn of the particles in those ``rows`` ``(p)``."""
    lost = ~(found.mean.isfinite().all(dim=1) & found.log_scale.isfinite().all(dim=1))
    if bool(lost.any()):
        found.mean[lost], found.log_scale[lost] = 0.0, 0.0
        found.covariance[lost] = torch.eye(found.mean.shape[1])
        run.warn(
            f"half {half}: no finite latents were found for the particles in rows "
            f"{', '.join(map(str, rows[lost].tolist()[:5]))}; they are left at the prior, and do not move"
        )


@torch.no_grad()
def _contrasts(search: _Search, mean: Tensor) -> Tensor:
    """The contrasts ``(p)`` of all particles with latents ``(p k)``, which the images have from now on."""
    trainer, weights = search.trainer, search.weights

    def look(mine: Tensor, size: int) -> None:
        for index in tell.each(trainer.data.parts(mine, size), f"how strongly half {trainer.data.half} shows"):
            images, own = search.batch(index), mean[index].to(weights.device)
            predicted = trainer.model.render(trainer.model.deformed(own), images.pose, images.ctf)
            trainer.contrasts.seen(images, predicted, weights)

    everyone = torch.arange(len(mean))
    trainer.contrasts.look(everyone, lambda mine: in_smaller_batches(partial(look, mine), _AT_ONCE))
    trainer.contrasts.settle()
    return trainer.data.contrast.cpu()


@torch.no_grad()
def _fit(search: _Search, mean: Tensor) -> tuple[Tensor, Tensor]:
    """How well latents ``(p k)`` explain the images: see ``misfit`` and ``gain`` of :class:`TrainedHalf`."""
    model, data, weights = search.trainer.model, search.trainer.data, search.weights
    still = mean.mean(dim=0).to(weights.device)

    def at(mine: Tensor, size: int) -> tuple[Tensor, Tensor]:
        parts = []
        for index in tell.each(mine.split(size), f"how well half {data.half} is explained"):
            images, own = search.batch(index), mean[index].to(weights.device)
            places = (model.deformed(own), model.deformed(still[None])[0])
            moved, unmoved = (model.render(points, images.pose, images.ctf) for points in places)
            gained = data_loss(unmoved, images.coefficients, weights) - data_loss(moved, images.coefficients, weights)
            inside = fourier.windowed(moved - images.coefficients, data.window, 2)
            parts.append(torch.stack([data_loss(inside, torch.zeros_like(inside), weights), gained]).cpu())
        left, gain = torch.cat(parts, dim=1)
        return left, gain

    everyone = torch.arange(len(mean))
    left, gain = ranks.rows(everyone, lambda mine: in_smaller_batches(partial(at, mine), _AT_ONCE))
    left = left / left[left.isfinite()].mean()
    if not data.tilted:
        return left, gain
    # What is said of a particle is said of all its images.
    shown = data.over_series(torch.ones_like(left), everyone)
    return data.over_series(left, everyone) / shown, data.over_series(gain, everyone)


def candidates(latents: Tensor) -> Tensor:
    """The prior's mean and some conformations that occur, to start a search from, ``(m k)``."""
    step = max(1, len(latents) // _CANDIDATES)
    return torch.cat([torch.zeros(1, latents.shape[1]), latents[::step][:_CANDIDATES]])
