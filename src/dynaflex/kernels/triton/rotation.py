"""The rotation nearest to a 3 x 3 matrix, one matrix to a thread, as in ``rigidity.c``; nine numbers, row by row."""

from __future__ import annotations

import triton
import triton.language as tl

STEPS = tl.constexpr(8)
SQUARINGS = tl.constexpr(40)

# Newton's steps divide by no less.
LEAST = tl.constexpr(1e-5)

# Where the entries of R^T R - 1 come to more than this together, the root has lost its digits.
LOST = tl.constexpr(2e-5)


@triton.jit
def norm2(m):
    """The sum of the squares of a matrix."""
    total = m[0] * m[0]
    for i in tl.static_range(1, 9):
        total += m[i] * m[i]
    return total


@triton.jit
def _cofactors(m):
    return (
        m[4] * m[8] - m[5] * m[7], m[5] * m[6] - m[3] * m[8], m[3] * m[7] - m[4] * m[6],
        m[7] * m[2] - m[8] * m[1], m[8] * m[0] - m[6] * m[2], m[6] * m[1] - m[7] * m[0],
        m[1] * m[5] - m[2] * m[4], m[2] * m[3] - m[0] * m[5], m[0] * m[4] - m[1] * m[3],
    )  # fmt: skip


@triton.jit
def _gram(m):
    """The upper triangle of ``m^T m``, row by row."""
    return (
        m[0] * m[0] + m[3] * m[3] + m[6] * m[6],
        m[0] * m[1] + m[3] * m[4] + m[6] * m[7],
        m[0] * m[2] + m[3] * m[5] + m[6] * m[8],
        m[1] * m[1] + m[4] * m[4] + m[7] * m[7],
        m[1] * m[2] + m[4] * m[5] + m[7] * m[8],
        m[2] * m[2] + m[5] * m[5] + m[8] * m[8],
    )


@triton.jit
def _times_gram(m, g):
    """``m g`` for a symmetric ``g`` of which the upper triangle is given."""
    return (
        m[0] * g[0] + m[1] * g[1] + m[2] * g[2],
        m[0] * g[1] + m[1] * g[3] + m[2] * g[4],
        m[0] * g[2] + m[1] * g[4] + m[2] * g[5],
        m[3] * g[0] + m[4] * g[1] + m[5] * g[2],
        m[3] * g[1] + m[4] * g[3] + m[5] * g[4],
        m[3] * g[2] + m[4] * g[4] + m[5] * g[5],
        m[6] * g[0] + m[7] * g[1] + m[8] * g[2],
        m[6] * g[1] + m[7] * g[3] + m[8] * g[4],
        m[6] * g[2] + m[7] * g[4] + m[8] * g[5],
    )


@triton.jit
def _by_root(F, size):
    """The nearest rotation by the largest root of Davenport's quartic, and what the entries of ``R^T R - 1`` come to.

    See :func:`dynaflex.kernels.reference.nearest_rotation`.
    """
    scale, M = 1.0 / tl.sqrt(size + 1e-30), ()
    for i in tl.static_range(9):
        M = M + (F[i] * scale,)
    C, G = _cofactors(M), _gram(M)
    d, constant = 8.0 * (M[0] * C[0] + M[1] * C[1] + M[2] * C[2]), 1.0 - 4.0 * norm2(C)
    root = tl.full(size.shape, 1.7320508, tl.float32)
    for _ in tl.static_range(STEPS):
        square = root * root
        slope = 4.0 * root * (square - 1.0) - d
        root -= ((square - 2.0) * square - d * root + constant) / tl.where(slope > LEAST, slope, LEAST)
    square = root * root
    slope = 4.0 * root * (square - 1.0) - d
    per_slope, cubic, R = 4.0 / tl.where(slope > LEAST, slope, LEAST), _times_gram(M, G), ()
    for i in tl.static_range(9):
        R = R + (((square + 1.0) * M[i] + 2.0 * root * C[i] - 2.0 * cubic[i]) * per_slope,)
    G = _gram(R)
    # A sum, because a maximum may take no notice of NaN.
    error = tl.abs(G[0] - 1.0) + tl.abs(G[1]) + tl.abs(G[2]) + tl.abs(G[3] - 1.0) + tl.abs(G[4]) + tl.abs(G[5] - 1.0)
    return R, error


@triton.jit
def _squared(K):
    """The upper triangle, row by row, of the square of a symmetric 4 x 4 matrix over its trace."""
    per_trace = 1.0 / (K[0] + K[4] + K[7] + K[9])
    a, b, c, d, e = K[0] * per_trace, K[1] * per_trace, K[2] * per_trace, K[3] * per_trace, K[4] * per_trace
    f, g, h, i, j = K[5] * per_trace, K[6] * per_trace, K[7] * per_trace, K[8] * per_trace, K[9] * per_trace
    return (
        a * a + b * b + c * c + d * d, a * b + b * e + c * f + d * g, a * c + b * f + c * h + d * i,
        a * d + b * g + c * i + d * j, b * b + e * e + f * f + g * g, b * c + e * f + f * h + g * i,
        b * d + e * g + f * i + g * j, c * c + f * f + h * h + i * i, c * d + f * g + h * i + i * j,
        d * d + g * g + i * i + j * j,
    )  # fmt: skip


@triton.jit
def _column_if(better, one, other):
    """One column and its entry on the diagonal where that is better, and the other elsewhere."""
    column = ()
    for i in tl.static_range(5):
        column = column + (tl.where(better, one[i], other[i]),)
    return column


@triton.jit
def _by_squaring(F):
    """The nearest rotation where two roots meet and Newton's digits are lost.

    Repeated squaring of Davenport's matrix, made positive, leaves the quaternions of its largest eigenvalue. Any column
    is a rotation, the best or one of the best. In double precision: few cells ever come here.
    """
    m, shift = (), tl.full(F[0].shape, 1e-300, tl.float64)
    for i in tl.static_range(9):
        m = m + (F[i].to(tl.float64),)
        shift += tl.abs(m[i])
    K = (
        m[0] + m[4] + m[8] + shift, m[7] - m[5], m[2] - m[6], m[3] - m[1],
        m[0] - m[4] - m[8] + shift, m[1] + m[3], m[2] + m[6],
        m[4] - m[0] - m[8] + shift, m[5] + m[7],
        m[8] - m[0] - m[4] + shift,
    )  # fmt: skip
    for _ in range(SQUARINGS):
        K = _squared(K)
    q = _column_if(K[4] > K[0], (K[1], K[4], K[5], K[6], K[4]), (K[0], K[1], K[2], K[3], K[0]))
    q = _column_if(K[7] > q[4], (K[2], K[5], K[7], K[8], K[7]), q)
    w, x, y, z, _ = _column_if(K[9] > q[4], (K[3], K[6], K[8], K[9], K[9]), q)
    s = 2.0 / (w * w + x * x + y * y + z * z)
    rotation, R = (
        1.0 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y),
        s * (x * y + w * z), 1.0 - s * (x * x + z * z), s * (y * z - w * x),
        s * (x * z - w * y), s * (y * z + w * x), 1.0 - s * (x * x + y * y),
    ), ()  # fmt: skip
    for i in tl.static_range(9):
        R = R + (rotation[i].to(tl.float32),)
    return R


@triton.jit
def nearest_rotation(F):
    """The rotation R that minimises ``|F - R|``; some such rotation where it is not unique."""
    size = norm2(F)
    R, error = _by_root(F, size)
    lost = ~(error < LOST) & (size < float("inf"))
    if tl.max(lost.to(tl.int32), axis=0) > 0:
        other, kept = _by_squaring(F), R
        R = ()
        for i in tl.static_range(9):
            R = R + (tl.where(lost, other[i], kept[i]),)
    return R
