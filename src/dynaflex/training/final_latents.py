"""The latents of all particles of a half, found under its final model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from dynaflex import fourier, inference, ranks, tell
from dynaflex.imaging.batch import Batch
from dynaflex.imaging.noise import noise_weights
from dynaflex.latents.posterior import Laplace
from dynaflex.losses.data import data_loss
from dynaflex.model import FlexModel
from dynaflex.prepare.half import HalfSet
from dynaflex.prepare.memory import in_smaller_batches
from dynaflex.run.directory import Run
from dynaflex.shapes import Tensor
from dynaflex.training.method import Trainer

_CANDIDATES = 16
_AT_ONCE = 64


def find_final_latents(run: Run, trainer: Trainer) -> None:
    """Latents of the half's own particles: the trained ones refined, those held out found from nothing."""
    data, model = trainer.data, trainer.model
    weights = noise_weights(trainer.progress.noise_power, data.grid)
    latent_dim, prior = trainer.config.latent_dim, trainer.config.latent_prior

    def batch(index: Tensor) -> Batch:
        found = data.batch(index)
        if trainer.poses is None:
            return found
        return replace(found, pose=torch.no_grad()(trainer.poses.corrected)(found.index, found.pose))

    def found(mine: Tensor, start: Tensor | None, starts: Tensor, task: str) -> tuple[Tensor, ...]:
        search = partial(
            inference.find_latents, model, batch, mine, weights, start, starts,
            prior=prior, task=task, series=data.series(mine),
        )  # fmt: skip
        latents = in_smaller_batches(search, _AT_ONCE)
        return latents.mean, latents.log_scale, latents.covariance

    def from_trained(mine: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            start = torch.cat([
                mean
                for part in data.parts(mine, 256)
                for mean in data.batch(part).in_pieces(lambda batch: model.latents.posterior(batch).mean)
            ])  # fmt: skip
        return found(mine, start, start[:0], f"latents of half {data.half}")

    trained = Laplace(*ranks.rows(trainer.training, from_trained))
    starts = candidates(trained.mean).to(data.device)
    held_out = data.without(trainer.training)
    mean, log_scale = (
        torch.zeros(len(data), latent_dim),
        torch.zeros(len(data), latent_dim),
    )
    covariance = torch.eye(latent_dim).repeat(len(data), 1, 1)
    mean[trainer.training], log_scale[trainer.training] = trained.mean, trained.log_scale
    covariance[trainer.training] = trained.covariance

    from_nothing = partial(found, start=None, starts=starts, task=f"latents held out of half {data.half}")
    if len(held_out) > 0:
        mean[held_out], log_scale[held_out], covariance[held_out] = ranks.rows(held_out, from_nothing)
    rows = torch.from_numpy(data.particles.rows)
    lost = ~(mean.isfinite().all(dim=1) & log_scale.isfinite().all(dim=1))
    if bool(lost.any()):
        mean[lost], log_scale[lost], covariance[lost] = 0.0, 0.0, torch.eye(latent_dim)
        run.warn(
            f"half {data.half}: no finite latents were found for the particles in rows "
            f"{', '.join(map(str, rows[lost].tolist()[:5]))}; they are left at the prior, and do not move"
        )
    contrast = _contrasts(trainer, batch, weights, mean)
    misfit, gain = _fit(model, batch, weights, data, mean)
    halves = torch.from_numpy(data.particles.half)
    run.save_checkpoint(
        f"latents{data.half}",
        0,
        {
            "mean": mean,
            "log_scale": log_scale,
            "covariance": covariance,
            "misfit": misfit,
            "gain": gain,
            "contrast": contrast,
            "rows": rows,
            "halves": halves,
        },
        {"half": data.half},
    )


@torch.no_grad()
def _contrasts(trainer: Trainer, batch: Callable[[Tensor], Batch], weights: Tensor, mean: Tensor) -> Tensor:
    """The contrasts ``(p)`` of all particles with latents ``(p k)``, which the images have from now on."""

    def look(mine: Tensor, size: int) -> None:
        for index in tell.each(trainer.data.parts(mine, size), f"how strongly half {trainer.data.half} shows"):
            images, own = batch(index), mean[index].to(weights.device)
            predicted = trainer.model.render(trainer.model.deformed(own), images.pose, images.ctf)
            trainer.contrasts.seen(images, predicted, weights)

    everyone = torch.arange(len(mean))
    trainer.contrasts.look(everyone, lambda mine: in_smaller_batches(partial(look, mine), _AT_ONCE))
    trainer.contrasts.settle()
    return trainer.data.contrast.cpu()


@torch.no_grad()
def _fit(
    model: FlexModel, batch: Callable[[Tensor], Batch], weights: Tensor, data: HalfSet, mean: Tensor
) -> tuple[Tensor, Tensor]:
    """How well latents ``(p k)`` explain the images: see ``misfit`` and ``gain`` of :class:`TrainedHalf`."""
    still = mean.mean(dim=0).to(weights.device)

    def at(mine: Tensor, size: int) -> tuple[Tensor, Tensor]:
        parts = []
        for index in tell.each(mine.split(size), f"how well half {data.half} is explained"):
            images, own = batch(index), mean[index].to(weights.device)
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
