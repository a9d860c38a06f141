"""Motion in a structural biologist's words: which parts move as rigid bodies, about which axis, how far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from sklearn.cluster import KMeans

from dynaflex.shapes import Array, BoolArray, FloatArray, IntArray

SMALLEST_ANGLE = np.radians(0.2)
"""Below it the axis of a rotation is noise, and none is given."""
STILL = 1.0
"""What moves less far than this, Å rms over particles, counts as still."""
_ROUNDS = 60
_NEIGHBOURS = 12
_EXPLAINED = 0.1
_WORTHWHILE = 0.75
_SMALLEST_PART = 0.02
_NEARNESS = 0.5
"""What it counts that points lie together, where it counts one that they move alike."""


@dataclass(frozen=True)
class RigidMotion:
    """The rigid motion that takes points nearest to where they went.

    x goes to ``rotation`` (x - ``center``) + ``center`` + ``translation``, with the centroid of the points as
    ``center`` ``(3)``, so that ``translation`` ``(3)`` is how that moves. As a screw: a turn by ``angle`` in [0, π]
    about the unit ``axis`` ``(3)``, right-handed, through ``point`` ``(3)``, the place on the axis nearest to the
    centroid, and a ``slide`` along it. Where the angle is less than 0.2° axis, point and slide are NaN. ``rmsd`` is how
    far the points travel and ``residual`` what the rigid motion leaves of that, rms in Å.
    """

    rotation: Array
    center: Array
    translation: Array
    angle: float
    axis: Array
    point: Array
    slide: float
    rmsd: float
    residual: float


def rigid_motion(start: Array, end: Array) -> RigidMotion:
    """The rigid motion that best takes points ``(n 3)`` to ``end`` ``(n 3)`` in the least-squares sense (Kabsch)."""
    rotation, center, translation = kabsch(start, end)
    turn = Rotation.from_matrix(rotation).as_rotvec()
    angle = float(np.linalg.norm(turn))
    axis = point = np.full(3, np.nan)
    slide = float("nan")
    if angle >= SMALLEST_ANGLE:
        axis = turn / angle
        slide = float(translation @ axis)
        across = translation - slide * axis
        # A turn about the axis through ``point`` carries the centroid by the part of the translation across the axis.
        point = center + 0.5 * across + 0.5 * np.cross(axis, across) / np.tan(0.5 * angle)
    moved = carried(start, (rotation, center, translation))
    return RigidMotion(
        rotation, center, translation, angle, axis, point, slide, rmsd=_rms(end - start), residual=_rms(end - moved)
    )


def moving_part(rms_displacement: Array | FloatArray) -> BoolArray:
    """Which points ``(n)`` belong to the part that moves: those that move at least half as far as the most mobile.

    That is the 98th percentile of their ``rms_displacement`` ``(n)`` in Å. Where it is less than 1 Å, none do.
    """
    most = np.nanquantile(rms_displacement, 0.98)
    return np.asarray((rms_displacement >= 0.5 * most) & (most >= STILL))


def camera_across(moved: Array) -> Array:
    """A camera ``(3 3)``, rows to the right, up and towards the eye, for points ``(f n 3)`` in some conformations.

    It looks across their main motion, along where they reach least; up is where they reach furthest. Of the two ways to
    look and to hold it, it takes those nearer to the map's own: from above z, with y up.
    """
    motion = (moved - moved.mean(axis=0)).reshape(-1, 3)
    main = np.linalg.eigh(motion.T @ motion)[1][:, -1]
    shape = np.cov(moved[len(moved) // 2].T)
    plane = np.linalg.svd(main[None])[2][1:]
    eye = np.linalg.eigh(plane @ shape @ plane.T)[1][:, 0] @ plane
    upright = np.eye(3) - np.outer(eye, eye)
    up = np.linalg.eigh(upright @ shape @ upright)[1][:, -1]
    eye, up = (-axis if axis[nearest] < 0 else axis for axis, nearest in ((eye, 2), (up, 1)))
    return np.stack([np.cross(up, eye), up, eye])


def kabsch(start: Array, end: Array) -> tuple[Array, Array, Array]:
    """Rotation ``(3 3)``, centroid of the start ``(3)`` and its translation ``(3)`` that best take ``start`` ``(n 3)``
    to ``end`` ``(n 3)``; never a reflection."""
    center, goal = start.mean(axis=0), end.mean(axis=0)
    left, _, right = np.linalg.svd((end - goal).T @ (start - center))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    return (left * sign) @ right, center, goal - center


def carried(points: Array, motion: tuple[Array, Array, Array]) -> Array:
    """Where a ``motion`` of :func:`kabsch` takes points ``(n 3)``."""
    rotation, center, translation = motion
    return np.asarray((points - center) @ rotation.T + center + translation)


def relative_to(frame: RigidMotion, points: Array) -> Array:
    """Points ``(n 3)`` as seen from a body that made the motion ``frame``: what the body did is undone."""
    return np.asarray((points - frame.center - frame.translation) @ frame.rotation + frame.center)


def rigid_domains(points: Array, moved: Array, most: int = 6, seed: int = 0) -> IntArray:
    """Which rigid body each of the points ``(n 3)`` belongs to, ``(n)`` from 0, the largest first.

    ``moved`` ``(f n 3)`` are their places in some conformations. Every body has a rigid motion of its own in each of
    them; points go to the body whose motion predicts them and their neighbours best. Bodies are added one by one, where
    the last ones fit worst or all of them anew from points that move alike, until they leave less than a tenth of the
    motion, or one more leaves at least three quarters of what there was. A body has at least a fiftieth of the points.
    """
    chosen, before = np.zeros(len(points), dtype=np.int64), np.inf
    everything = _rms(moved - moved.mean(axis=1, keepdims=True) - points + points.mean(axis=0))
    for labels, left in ever_more_domains(points, moved, most, seed):
        if left > _WORTHWHILE * before:
            break
        chosen, before = labels, left
        if left <= max(_EXPLAINED * everything, 1e-6):
            break
    return _by_size(chosen)


def ever_more_domains(points: Array, moved: Array, most: int, seed: int = 0) -> Iterator[tuple[IntArray, float]]:
    """One rigid body, two, three, up to ``most``: which one points ``(n 3)`` belong to, ``(n)`` from 0, and what the
    bodies leave of the motion, rms in Å; ``moved`` as in :func:`rigid_domains`."""
    displacement = np.ascontiguousarray((moved - points).transpose(1, 0, 2)).reshape(len(points), -1)
    near = cKDTree(points).query(points, k=min(_NEIGHBOURS, len(points)))[1].reshape(len(points), -1)
    labels = np.zeros(len(points), dtype=np.int64)
    cost = _costs(points, moved, labels)
    while True:
        yield labels, _left(cost, labels)
        count = int(labels.max()) + 2
        if count > min(most, len(points) // _NEIGHBOURS) or not cost.max() > 0.0:
            return
        starts = _split(points, moved, cost, labels, seed), _alike(points, displacement, count, seed)
        settled = [_settled(points, moved, near, start) for start in starts]
        found = [(_costs(points, moved, one), one) for one in settled]
        cost, labels = min(found, key=lambda one: _left(*one))
        if labels.max() + 1 < count:
            return


def _settled(points: Array, moved: Array, near: IntArray, labels: IntArray) -> IntArray:
    """Labels that no longer change when each point goes to the body that predicts most of its surroundings best.

    The body with the least error on the mean over them would be another: between two that slide along each other, any
    body that moves like neither but between them.
    """
    for _ in range(_ROUNDS):
        labels = _without_crumbs(labels)
        cost = _costs(points, moved, labels)
        best = np.eye(cost.shape[1])[cost.argmin(axis=1)]
        again = best[near].mean(axis=1).argmax(axis=1)
        if np.array_equal(again, labels):
            break
        labels = again
    return _without_crumbs(labels)


def _costs(points: Array, moved: Array, labels: IntArray) -> Array:
    """The mean square error in Å² with which each body's motion predicts each point, ``(n bodies)``."""
    cost = np.zeros((len(points), labels.max() + 1))
    for body in range(cost.shape[1]):
        mine = labels == body
        for frame in moved:
            error = carried(points, kabsch(points[mine], frame[mine])) - frame
            cost[:, body] += np.square(error).sum(axis=1) / len(moved)
    return cost


def _left(cost: Array, labels: IntArray) -> float:
    """What the bodies leave of the motion, rms in Å."""
    return float(np.sqrt(np.take_along_axis(cost, labels[:, None], axis=1).mean()))


def _split(points: Array, moved: Array, cost: Array, labels: IntArray, seed: int) -> IntArray:
    """The labels with the body that fits worst in all cut in two, by what its motion leaves."""
    own = np.take_along_axis(cost, labels[:, None], axis=1)[:, 0]
    worst = int(np.bincount(labels, own).argmax())
    mine = np.flatnonzero(labels == worst)
    errors = [carried(points[mine], kabsch(points[mine], frame[mine])) - frame[mine] for frame in moved]
    halves = KMeans(2, n_init=4, random_state=seed).fit_predict(np.concatenate(errors, axis=1))
    split = labels.copy()
    split[mine[halves == 1]] = labels.max() + 1
    return split


def _alike(points: Array, displacement: Array, count: int, seed: int) -> IntArray:
    """So many groups of points ``(n 3)`` that lie together and whose ``displacement`` ``(n f)`` is alike.

    To split one body after another goes astray where a still one lies between two that move: half goes with each.
    """
    motion = displacement - displacement.mean(axis=0)
    place = points - points.mean(axis=0)
    together = [motion / max(_rms(motion), 1e-6), _NEARNESS * place / max(_rms(place), 1e-6)]
    return np.asarray(KMeans(count, n_init=6, random_state=seed).fit_predict(np.concatenate(together, axis=1)))


def _without_crumbs(labels: IntArray) -> IntArray:
    """Labels counted from 0 without gaps; bodies that are too small to fit a motion to join the largest."""
    names, counts = np.unique(labels, return_counts=True)
    large = counts >= max(4, _SMALLEST_PART * len(labels))
    large[counts.argmax()] = True
    kept = names[large]
    renamed = np.full(len(labels), int(np.searchsorted(kept, names[counts.argmax()])), dtype=np.int64)
    for new, old in enumerate(kept):
        renamed[labels == old] = new
    return renamed


def _by_size(labels: IntArray) -> IntArray:
    order = np.argsort(-np.bincount(labels), kind="stable")
    return np.asarray(np.argsort(order)[labels], dtype=np.int64)


def _rms(vectors: Array) -> float:
    """The root-mean-square length of vectors ``(n k)``."""
    return float(np.sqrt(np.square(vectors).sum(axis=-1).mean()))
