"""Motion in a structural biologist's words: which parts move as rigid bodies, about which axis, how far."""

from __future__ import annotations

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
    moved = (start - center) @ rotation.T + center + translation
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


def relative_to(frame: RigidMotion, points: Array) -> Array:
    """Points ``(n 3)`` as seen from a body that made the motion ``frame``: what the body did is undone."""
    return np.asarray((points - frame.center - frame.translation) @ frame.rotation + frame.center)


def rigid_domains(points: Array, moved: Array, most: int = 6, seed: int = 0) -> IntArray:
    """Which rigid body each of the points ``(n 3)`` belongs to, ``(n)`` from 0, the largest first.

    ``moved`` ``(f n 3)`` are their places in some conformations. Every body has a rigid motion of its own in each of
    them; points go to the body whose motion predicts them and their neighbours best. Bodies are added one by one, where
    the last ones fit worst, until they leave less than a tenth of the motion, or one more leaves at least three
    quarters of what there was. A body has at least a fiftieth of the points.
    """
    displacement = np.ascontiguousarray((moved - points).transpose(1, 0, 2)).reshape(len(points), -1)
    everything = _rms(displacement - displacement.mean(axis=0)) / np.sqrt(len(moved))
    near = cKDTree(points).query(points, k=min(_NEIGHBOURS, len(points)))[1].reshape(len(points), -1)
    labels = np.zeros(len(points), dtype=np.int64)
    cost = _costs(points, moved, labels)
    while labels.max() + 1 < most and _left(cost, labels) > max(_EXPLAINED * everything, 1e-6):
        more = _settled(points, moved, near, _split(points, moved, cost, labels, seed))
        cost_of_more = _costs(points, moved, more)
        if _left(cost_of_more, more) > _WORTHWHILE * _left(cost, labels):
            break
        labels, cost = more, cost_of_more
    return _by_size(labels)


def _settled(points: Array, moved: Array, near: IntArray, labels: IntArray) -> IntArray:
    """Labels that no longer change when each point goes to the body that predicts its surroundings best."""
    for _ in range(_ROUNDS):
        labels = _without_crumbs(labels)
        again = _costs(points, moved, labels)[near].mean(axis=1).argmin(axis=1)
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
            rotation, center, translation = kabsch(points[mine], frame[mine])
            error = (points - center) @ rotation.T + center + translation - frame
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
    errors = []
    for frame in moved:
        rotation, center, translation = kabsch(points[mine], frame[mine])
        errors.append((points[mine] - center) @ rotation.T + center + translation - frame[mine])
    halves = KMeans(2, n_init=4, random_state=seed).fit_predict(np.concatenate(errors, axis=1))
    split = labels.copy()
    split[mine[halves == 1]] = labels.max() + 1
    return split


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
