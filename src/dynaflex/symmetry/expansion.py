"""Symmetry expansion: every particle once for each operation of its point group, with its pose turned.

A symmetric assembly that moves is not symmetric: its units move each for itself. Turned by each operation in turn,
every unit of every particle comes to lie where the first one is, and one model of its motion serves all of them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from dynaflex.data.particles import Exclusion, Particles
from dynaflex.errors import InputError, UsageError
from dynaflex.io.foreign.cs import looks_like_cs
from dynaflex.io.star import StarFile
from dynaflex.rotations import matrix_to_euler, point_group
from dynaflex.shapes import IntArray, Tensor

ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_TURN = 0.02
"""By how much, of a rotation matrix, poses of copies may be off: a degree."""


def expanded(particles: Particles, symmetry: str, warnings: list[str]) -> Particles:
    """All particles of a table once for each operation of the group ``symmetry``, the identity first.

    Row ``g i + k`` of the new table is particle ``i``, turned by operation ``k`` of g; so orders them RELION's
    `relion_particle_symmetry_expand`. Copies have one image, and one half. A table that holds such copies already is
    taken as it is, and ``warnings`` gains a line.

    Raises:
        UsageError: there is no such group, or particles are seen in tilt series.
        InputError: images occur more than once, and not as copies by this group, or in both halves; or the table is
            cryoSPARC's, which has an expansion of its own.
    """
    group = point_group(symmetry)
    if len(group) == 1:
        return particles
    if particles.tilted is not None:
        raise UsageError(
            "tomography.symmetry", "particles of tilt series are not expanded by a symmetry", field="--symmetry",
            expected="C1", found=symmetry, fix="leave it out",
        )  # fmt: skip
    if particles.distinct < len(particles):
        _require_copies(particles, symmetry, group)
        warnings.append(
            f"the table was expanded before: {len(particles)} copies of {particles.distinct} images are taken as they "
            f"are, and {symmetry} is not applied a second time"
        )
        return particles
    if looks_like_cs(particles.source.path):
        raise InputError(
            "symmetry.cryosparc", "a table of cryoSPARC is not expanded here: its particles would lose their uid",
            file=particles.source.path, expected="the particles of a Symmetry Expansion job",
            fix="run Symmetry Expansion in cryoSPARC and give its particles with the same --symmetry",
        )  # fmt: skip
    g = len(group)
    many = particles.take(np.repeat(np.arange(len(particles)), g))
    rotation = (particles.pose.rotation[:, None] @ group).flatten(0, 1)
    rows = (particles.rows[:, None] * g + np.arange(g)).reshape(-1)
    return replace(
        many,
        rows=rows,
        pose=replace(many.pose, rotation=rotation),
        source=_expanded_table(particles, g, rows, rotation),
        copies=g,
        excluded=tuple(Exclusion(g * one.row + k, one.reason) for one in particles.excluded for k in range(g)),
    )


def _expanded_table(particles: Particles, g: int, rows: IntArray, rotation: Tensor) -> StarFile:
    """The table with g rows for each of its own; what is not turned stands as it stood."""
    star, block = particles.source, particles.particles_block
    table = star.blocks[block]
    table = table.iloc[np.repeat(np.arange(len(table)), g)].reset_index(drop=True)
    degrees = np.rad2deg(matrix_to_euler(rotation).numpy())
    turned = np.arange(len(rows)) % g > 0
    for name, values in zip(ANGLES, degrees.T, strict=True):
        column = table[name].to_numpy(dtype=object, copy=True)
        column[rows[turned]] = [f"{value:.6f}" for value in values[turned]]
        table[name] = column
    return replace(star, blocks={**star.blocks, block: table})


def _require_copies(particles: Particles, symmetry: str, group: Tensor) -> None:
    """Refuse images that occur several times, unless their poses differ by the group, and their half does not."""
    image, half = particles.image, particles.half
    _, first = np.unique(image, return_index=True)
    of = first[image]
    across = np.flatnonzero(half != half[of])
    if across.size:
        raise InputError(
            "symmetry.halves", "copies of one image are in both half-sets, which then share its noise",
            file=particles.source.path, field="rlnRandomSubset", row=int(particles.rows[across[0]]),
            expected=f"half {half[of[across[0]]]}, as in row {particles.rows[of[across[0]]]}",
            found=f"{half[across[0]]} ({across.size} such rows)",
            fix="expand the table after the halves were drawn, or give the table before its expansion",
        )  # fmt: skip
    rotation = particles.pose.rotation
    relative = rotation[torch.from_numpy(of)].transpose(1, 2) @ rotation
    off = (relative[:, None] - group).abs().amax(dim=(2, 3)).amin(dim=1)
    wrong = np.flatnonzero((off > _TURN).numpy())
    most = int(np.bincount(image).max())
    if wrong.size or most > len(group):
        found = f"{wrong.size} copies turned otherwise" if wrong.size else f"up to {most} copies of an image"
        raise InputError(
            "symmetry.copies", f"images occur more than once in this table, and not as copies by {symmetry}",
            file=particles.source.path, row=int(particles.rows[wrong[0]]) if wrong.size else None,
            expected=f"every image once, or up to {len(group)} times with poses that differ by {symmetry}", found=found,
            fix="give the table of the refinement, before any expansion, or the --symmetry that it was expanded by",
        )  # fmt: skip
