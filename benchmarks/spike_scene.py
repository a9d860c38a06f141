"""The spike of SARS-CoV-2, whose receptor-binding domains rise one after the other: ten rigid bodies on smooth paths.

Four structures of one spike, with 0, 1, 2 and 3 domains up, give the poses of each body. The core of S2 stays where it
is.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from bodies import AT_REST, Bodies, BodyScene, scene_along
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from structures import Residues, residues

from dynaflex.grid import Grid
from dynaflex.shapes import IntArray, Tensor

FILE = "spike_0_1_2_3up_common_atoms.npz"
CHAINS = ("A", "B", "C")
REGIONS = (("NTD", ((1, 305),)), ("RBD", ((331, 527),)), ("SD", ((306, 330), (528, 700))))
"""Residues of the bodies of S1: N-terminal domain, receptor-binding domain, and the subdomains between them and S2."""
BODIES = ("S2", *(f"{name}_{chain}" for chain in CHAINS for name, _ in REGIONS))
LARGE_TURN = math.radians(20.0)
"""A domain that turns by more than this is a segment of its own mesh."""


def spike(path: Path, chosen: list[int], particles: int, grid: Grid, seed: int) -> BodyScene:
    """A scene along the ``chosen`` structures of the file, with particles spread evenly over the path at random.

    Maps need not be of a conformation that any particle takes: a state has a coordinate for each of the three chains.
    """
    with np.load(path, allow_pickle=False) as stored:
        columns = (stored["chain"], stored["resid"].astype(str), stored["element"])
        all_of_them = residues(*columns, stored["coords"][chosen])
    follows = np.array([AT_REST, *(column for column in range(len(CHAINS)) for _ in REGIONS)])
    bodies = Bodies(BODIES, follows, tuple(f"RBD_{chain}" for chain in CHAINS))
    domain = _bodies(all_of_them)
    return scene_along(all_of_them.beads, all_of_them.weights, domain, bodies, particles, grid, seed)


def _bodies(of: Residues) -> IntArray:
    """The body of every residue: what belongs to no other is S2."""
    body = np.zeros(len(of.names), dtype=np.int64)
    for letter in CHAINS:
        for name, ranges in REGIONS:
            body[(of.chain == letter) & of.between(*ranges)] = BODIES.index(f"{name}_{letter}")
    return body


def segment_labels(scene: BodyScene, inside: Tensor) -> Tensor:
    """Segments ``(d d d)`` of the voxels that are ``inside``, -1 elsewhere, as atoms fitted into the mean map tell.

    What turns by itself is a segment, so is the subdomain that it hangs on, and the rest is another: a domain that
    opens glides along its neighbours, and tetrahedra that it shared with them would hold it back.
    """
    middle = scene.beads(np.full((1, 1), sum(scene.limits) / 2.0))[0]
    points = scene.grid.points(dtype=torch.float64)[inside.view(-1)].numpy()
    labels = torch.full(inside.shape, -1, dtype=torch.int64)
    labels[inside] = torch.from_numpy(_segment_of_body(scene)[scene.domain[cKDTree(middle).query(points)[1]]])
    return labels


def _segment_of_body(scene: BodyScene) -> IntArray:
    turned = Rotation.from_matrix(scene.rotation[-1]).magnitude()
    segment = np.zeros(len(BODIES), dtype=np.int64)
    for chain in CHAINS:
        opening, held_by = BODIES.index(f"RBD_{chain}"), BODIES.index(f"SD_{chain}")
        if turned[opening] > LARGE_TURN:
            segment[held_by], segment[opening] = segment.max() + 1, segment.max() + 2
    return segment
