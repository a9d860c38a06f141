"""The latents of both halves, written for people and programs: ``latents.npz`` and columns of the particle table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dynaflex.data.foreign.cs_table import read_joined
from dynaflex.data.halves import assign_halves
from dynaflex.data.particles import Particles
from dynaflex.io import durable
from dynaflex.io.foreign.cs import looks_like_cs, write_cs
from dynaflex.io.star import StarFile, write_star
from dynaflex.prepare.inputs import Inputs
from dynaflex.results.trained import TrainedHalf, load_half
from dynaflex.run.directory import Run
from dynaflex.run.files import CONTRAST_COLUMN, INPUT_CS, LATENT_COLUMN, LATENTS, NOISE, TABLE, read_grids
from dynaflex.shapes import IntArray


def collect(run: Run, inputs: Inputs) -> None:
    """Write ``latents.npz``, the latents and contrasts into ``particles.star``, and ``noise.json`` where optics groups
    differ in it."""
    halves = [load_half(run, half) for half in (1, 2)]
    rows = np.concatenate([half.rows.numpy() for half in halves])
    order = np.argsort(rows, kind="stable")
    mean = np.concatenate([half.latents.mean.numpy() for half in halves])[order]
    scale = np.concatenate([half.latents.log_scale.exp().numpy() for half in halves])[order]
    half = np.concatenate([np.full(len(part.rows), part.half) for part in halves])[order]
    drift = {f"half{half.half}": half.poses.drift() for half in halves if half.poses is not None}
    if drift:
        run.write_json("poses_drift.json", drift)
    noise = {f"half{half.half}": _noise(half) for half in halves if half.noise.differs}
    if noise:
        frequency = read_grids(run).train.shell_frequencies().tolist()
        run.write_json(NOISE, {"frequency": frequency, **noise})
    with run.files.writing(LATENTS) as path:
        durable.write_npz(path, index=rows[order], half=half, mean=mean, scale=scale, **_copies(inputs.particles))
    table = table_with_halves(inputs.particles, run.config()["seed"])
    particles = table.blocks[inputs.particles.particles_block]
    columns = {f"{LATENT_COLUMN}{k + 1}": (mean[:, k], 6) for k in range(mean.shape[1])}
    contrast = np.concatenate([half.contrast.numpy() for half in halves])[order]
    for name, (values, digits) in (columns | {CONTRAST_COLUMN: (contrast, 4)}).items():
        column = np.full(len(particles), "nan", dtype=object)
        column[rows[order]] = [f"{value:.{digits}f}" for value in values]
        particles[name] = column
    with run.files.writing(TABLE) as path:
        write_star(table, path)


def _noise(half: TrainedHalf) -> dict[str, Any]:
    """For ``noise.json``: the power of the noise of all particles of a half in each shell, and that of every optics
    group relative to it."""
    each = zip(half.noise.numbers.tolist(), half.noise.relative.tolist(), strict=True)
    return {"power": half.noise_power.tolist(), "groups": {str(number): relative for number, relative in each}}


def _copies(particles: Particles) -> dict[str, IntArray]:
    """For ``latents.npz``, where particles have several copies or images: the row ``particle`` of the input that each
    is one of, and its number ``copy``, from 0, in the order of the table."""
    particle = particles.particle
    if particles.distinct == len(particles):
        return {}
    order = np.argsort(particle, kind="stable")
    number = np.empty_like(particle)
    number[order] = np.arange(len(particle)) - np.searchsorted(particle[order], particle[order])
    return {"particle": particles.rows[particles.originals] // particles.copies, "copy": number}


def keep_cryosparc(run: Run, particles: Path) -> None:
    """Keep cryoSPARC's table, where the run is made from one, with every column of its passthrough files: in STAR's
    words most of it would be lost, and some digits of the rest."""
    if looks_like_cs(particles) and not run.files.has(INPUT_CS):
        with run.files.writing(INPUT_CS) as path:
            write_cs(path, read_joined(particles).records())


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
