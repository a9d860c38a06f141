"""The latents of all particles: found under the final models, written for people and programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from dynaflex import fourier, tell
from dynaflex.data.halves import assign_halves
from dynaflex.data.particles import Particles
from dynaflex.imaging.noise import noise_weights
from dynaflex.io import durable
from dynaflex.io.star import StarFile, write_star
from dynaflex.losses.data import data_loss
from dynaflex.model import Batch, FlexModel
from dynaflex.pipelines import embed
from dynaflex.pipelines.inputs import Inputs
from dynaflex.pipelines.memory import in_smaller_batches
from dynaflex.pipelines.method import Trainer
from dynaflex.pipelines.predict import load_half
from dynaflex.run.directory import Run
from dynaflex.run.files import LATENTS, TABLE
from dynaflex.shapes import Tensor

_CANDIDATES = 16
_AT_ONCE = 64


def embed_half(run: Run, trainer: Trainer) -> None:
    """Latents of the half's own particles: the trained ones refined, those held out found from nothing."""
    data, model = trainer.data, trainer.model
    weights = noise_weights(trainer.progress.noise_power, data.grid)
    latent_dim, prior = trainer.config.latent_dim, trainer.config.latent_prior

    def batch(index: Tensor) -> Batch:
        pose = None
        if trainer.poses is not None:
            every = torch.arange(len(data), device=data.device)
            pose = torch.no_grad()(trainer.poses.corrected)(every, data.pose)
        return data.batch(index, torch.zeros(len(index), latent_dim), pose)

    with torch.no_grad():
        start = torch.cat([
            model.latents.posterior(part.to(data.device), data.images[part].to(data.device)).mean
            for part in trainer.training.split(256)
        ])  # fmt: skip
    trained = in_smaller_batches(
        partial(
            embed.embed,
            model,
            batch,
            trainer.training,
            weights,
            start,
            start[:0],
            prior=prior,
            task=f"latents of half {data.half}",
        ),
        _AT_ONCE,
    )
    starts = candidates(trained.mean).to(data.device)
    outside = torch.ones(len(data), dtype=torch.bool)
    outside[trainer.training] = False
    held_out = outside.nonzero()[:, 0]
    mean, log_scale = (
        torch.zeros(len(data), latent_dim),
        torch.zeros(len(data), latent_dim),
    )
    mean[trainer.training], log_scale[trainer.training] = trained.mean, trained.log_scale
    if len(held_out) > 0:
        found = in_smaller_batches(
            partial(
                embed.embed,
                model,
                batch,
                held_out,
                weights,
                None,
                starts,
                prior=prior,
                task=f"latents held out of half {data.half}",
            ),
            _AT_ONCE,
        )
        mean[held_out], log_scale[held_out] = found.mean, found.log_scale
    rows = torch.from_numpy(data.particles.rows)
    lost = ~(mean.isfinite().all(dim=1) & log_scale.isfinite().all(dim=1))
    if bool(lost.any()):
        mean[lost], log_scale[lost] = 0.0, 0.0
        run.warn(
            f"half {data.half}: no finite latents were found for the particles in rows "
            f"{', '.join(map(str, rows[lost].tolist()[:5]))}; they are left at the prior, and do not move"
        )
    misfit, gain = _fit(model, batch, weights, data.window, mean)
    halves = torch.from_numpy(data.particles.half)
    run.save_checkpoint(
        f"latents{data.half}",
        0,
        {"mean": mean, "log_scale": log_scale, "misfit": misfit, "gain": gain, "rows": rows, "halves": halves},
        {"half": data.half},
    )


@torch.no_grad()
def _fit(
    model: FlexModel, batch: Callable[[Tensor], Batch], weights: Tensor, window: Tensor, mean: Tensor
) -> tuple[Tensor, Tensor]:
    """How well latents ``(p k)`` explain the images: see ``misfit`` and ``gain`` of :class:`TrainedHalf`."""
    still = mean.mean(dim=0).to(weights.device)

    def at(size: int) -> tuple[Tensor, Tensor]:
        parts = []
        for index in tell.each(torch.arange(len(mean)).split(size), "how well they explain the images"):
            images, own = batch(index), mean[index].to(weights.device)
            places = (model.deformed(own), model.deformed(still[None])[0])
            moved, unmoved = (model.render(points, images.pose, images.ctf) for points in places)
            gained = data_loss(unmoved, images.coefficients, weights) - data_loss(moved, images.coefficients, weights)
            inside = fourier.windowed(moved - images.coefficients, window, 2)
            parts.append(torch.stack([data_loss(inside, torch.zeros_like(inside), weights), gained]).cpu())
        left, gain = torch.cat(parts, dim=1)
        return left / left[left.isfinite()].mean(), gain

    return in_smaller_batches(at, _AT_ONCE)


def candidates(latents: Tensor) -> Tensor:
    """The prior's mean and some conformations that occur, to start a search from, ``(m k)``."""
    step = max(1, len(latents) // _CANDIDATES)
    return torch.cat([torch.zeros(1, latents.shape[1]), latents[::step][:_CANDIDATES]])


def collect(run: Run, inputs: Inputs) -> None:
    """Write ``latents.npz``, and the latents into ``particles.star``."""
    halves = [load_half(run, half) for half in (1, 2)]
    rows = np.concatenate([half.rows.numpy() for half in halves])
    order = np.argsort(rows, kind="stable")
    mean = np.concatenate([half.latents.mean.numpy() for half in halves])[order]
    scale = np.concatenate([half.latents.log_scale.exp().numpy() for half in halves])[order]
    half = np.concatenate([np.full(len(part.rows), part.half) for part in halves])[order]
    drift = {f"half{half.half}": half.poses.drift() for half in halves if half.poses is not None}
    if drift:
        run.write_json("poses_drift.json", drift)
    with run.files.writing(LATENTS) as path:
        durable.write_npz(path, index=rows[order], half=half, mean=mean, scale=scale)
    table = table_with_halves(inputs.particles, run.config()["seed"])
    particles = table.blocks[inputs.particles.particles_block]
    for k in range(mean.shape[1]):
        column = np.full(len(particles), "nan", dtype=object)
        column[rows[order]] = [f"{value:.6f}" for value in mean[:, k]]
        particles[f"dynaflexLatent{k + 1}"] = column
    with run.files.writing(TABLE) as path:
        write_star(table, path)


def table_with_halves(particles: Particles, seed: int) -> StarFile:
    """The input table, unchanged but for ``rlnRandomSubset`` where it was missing, drawn with ``seed``.

    Excluded particles have a half too, so that the table can be read again.
    """
    blocks = dict(particles.source.blocks)
    table = blocks[particles.particles_block].copy()
    if "rlnRandomSubset" not in table:
        table["rlnRandomSubset"] = assign_halves(table, seed, []).astype(str).astype(object)
    blocks[particles.particles_block] = table
    return replace(particles.source, blocks=blocks)
