"""The kernels in plain torch: any device, any precision. The truth that every other backend is tested against."""

from __future__ import annotations

import torch

from dynaflex.kernels.mesh_table import MeshTable
from dynaflex.kernels.rigidity_table import RigidityTable
from dynaflex.shapes import Tensor


def spline_weights(fraction: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four cubic B-spline weights around a point ``fraction`` of a pixel past its pixel."""
    f, g = fraction, 1.0 - fraction
    first, last = g**3 / 6.0, f**3 / 6.0
    second = 2.0 / 3.0 - f.square() * (1.0 - 0.5 * f)
    return first, second, 1.0 - first - second - last, last


def _taps(positions: Tensor, box: int) -> tuple[Tensor, Tensor]:
    """Flat pixel indices and weights of the 4 x 4 pixels of every point, each ``(b 16 n)``; outside points weigh 0."""
    base = positions.detach().floor()
    fraction = positions - base
    corner = base.long() - 1
    inside = ((corner >= 0) & (corner < box - 3)).all(dim=1)
    start = torch.where(inside, corner[:, 1] * box + corner[:, 0], 0)
    wx, wy = spline_weights(fraction[:, 0]), spline_weights(fraction[:, 1])
    index = torch.stack([start + (j * box + i) for j in range(4) for i in range(4)], dim=1)
    weight = torch.stack([wy[j] * wx[i] for j in range(4) for i in range(4)], dim=1)
    return index, torch.where(inside[:, None, :], weight, 0.0)


def splat(positions: Tensor, weights: Tensor, box: int) -> Tensor:
    """Spread points at ``positions`` ``(b 2 n)`` in pixels, of ``weights`` ``(n)``, onto images ``(b box box)``."""
    index, weight = _taps(positions, box)
    batch = positions.shape[0]
    flat = torch.zeros(batch, box * box, dtype=weight.dtype, device=weight.device)
    flat = flat.scatter_add(1, index.flatten(1), (weight * weights).flatten(1))
    return flat.view(batch, box, box)


def gather(positions: Tensor, images: Tensor) -> Tensor:
    """Images ``(b h h)`` interpolated at ``positions`` ``(b 2 n)`` and summed, ``(n)``: the adjoint of splat."""
    index, weight = _taps(positions, images.shape[-1])
    values = images.flatten(1).gather(1, index.flatten(1)).view_as(weight)
    return (values * weight).sum(dim=(0, 1))


def edge_lengths(points: Tensor, edges: Tensor) -> Tensor:
    """Lengths ``(b e)`` of edges ``(e 2)`` over points ``(b 3 n)``; a collapsed edge has gradient 0."""
    vectors = points[:, :, edges[:, 0]] - points[:, :, edges[:, 1]]
    return torch.linalg.vector_norm(vectors, dim=1)


def coordinate_mlp(spatial: Tensor, latent: Tensor, weights: Tensor, biases: Tensor, w_out: Tensor) -> Tensor:
    """The coordinate network ``(b 3 n)`` from the split first layer, ``spatial`` ``(h n)`` and ``latent`` ``(b h)``.

    ``weights`` ``(l h h)`` and ``biases`` ``(l h)`` are the hidden layers, ``w_out`` ``(3 h)`` the last one.
    """
    hidden = torch.nn.functional.elu(spatial.T[None] + latent[:, None, :])
    for weight, bias in zip(weights, biases, strict=True):
        hidden = torch.nn.functional.elu(torch.nn.functional.linear(hidden, weight, bias))
    return (hidden @ w_out.T).transpose(1, 2)


def carried(positions: Tensor, table: MeshTable) -> Tensor:
    """Positions ``(b 2 n)`` of the points that a mesh with vertices at ``positions`` ``(b 2 v)`` carries."""
    first = positions[:, :, table.vertex[:, 0]]
    share = table.barycentric.to(positions.dtype)
    return first + sum((positions[:, :, table.vertex[:, k]] - first) * share[:, k] for k in (1, 2, 3))


def mesh_splat(positions: Tensor, weights: Tensor, table: MeshTable, box: int) -> Tensor:
    """Spread the points that a mesh carries, of ``weights`` ``(n)``, onto images ``(b box box)``.

    ``positions`` ``(b 2 v)`` are the projected vertices in pixels. Differentiable in both.
    """
    return splat(carried(positions, table), weights, box)


def mesh_gather(positions: Tensor, images: Tensor, table: MeshTable) -> Tensor:
    """Images ``(b h h)`` interpolated at the points that a mesh carries and summed, ``(n)``: the adjoint of mesh_splat
    in the weights."""
    return gather(carried(positions, table), images)


def insert(lattice: Tensor, values: Tensor, rows: Tensor, taps: Tensor) -> None:
    """Add planes of coefficients, ``values`` ``(b h w c)`` of c channels, to a ``lattice`` of Fourier space.

    Channels are one real number, or the real and the imaginary part. The coefficient of the frequency ``(kx, ky)``
    stands at ``kx rows[b, 0] + ky rows[b, 1]``, in steps (x, y, z) from the origin, with ``rows`` ``(b 2 3)``; one
    whose x is negative is put where its conjugate belongs. A ``lattice`` ``(s + 4, s + 4, s // 2 + 5, c)`` in the order
    [z, y, x] has its origin at ``[s // 2 + 2, s // 2 + 2, 2]``: two nodes stand over on every side. A coefficient is
    shared by 4 x 4 x 4 nodes: tap j along an axis has the polynomial ``taps`` ``(m 4)`` ``sum_m taps[m, j] f^m``, where
    the coefficient is ``f`` of a step past its node. One that lacks some of its nodes adds nothing.
    """
    size, box = lattice.shape[0] - 4, values.shape[1]
    ky = torch.fft.fftfreq(box, 1.0 / box, dtype=rows.dtype, device=rows.device)
    kx = torch.arange(values.shape[2], dtype=rows.dtype, device=rows.device)
    at = kx[:, None] * rows[:, None, None, 0] + ky[:, None, None] * rows[:, None, None, 1]
    mirror = at[..., :1] < 0
    at, values = torch.where(mirror, -at, at).reshape(-1, 3), values.clone()
    values[..., 1:] = torch.where(mirror, -values[..., 1:], values[..., 1:])
    base = at.floor()
    first = base.long() + torch.tensor([1, size // 2 + 1, size // 2 + 1], device=at.device)
    most = torch.tensor(lattice.shape[2::-1], device=at.device)
    inside = ((first >= 0) & (first + 4 <= most)).all(dim=1)
    first, beyond, values = first[inside], (at - base)[inside], values.reshape(-1, values.shape[3])[inside]
    powers = beyond[..., None] ** torch.arange(len(taps), device=at.device)
    x, y, z = (powers @ taps.to(powers.dtype)).unbind(dim=1)
    flat = lattice.view(-1, lattice.shape[3])
    start = (first[:, 2] * lattice.shape[1] + first[:, 1]) * lattice.shape[2] + first[:, 0]
    # All memory that is needed is here before the first node is changed: either all is added or nothing.
    node, share, part, taps_yz = (torch.empty_like(like) for like in (start, values, values, z[:, 0]))
    for k in range(4):
        for j in range(4):
            torch.mul(z[:, k], y[:, j], out=taps_yz)
            torch.mul(taps_yz[:, None], values, out=share)
            for i in range(4):
                torch.add(start, (k * lattice.shape[1] + j) * lattice.shape[2] + i, out=node)
                flat.index_add_(0, node, torch.mul(share, x[:, i, None], out=part))


def rigidity(positions: Tensor, table: RigidityTable) -> Tensor:
    """``sum_t w_t |F_t - R_t|^2`` ``(b)`` of a mesh with its vertices at ``positions`` ``(b 3 v)`` in Å.

    F is a cell's deformation gradient and R the rotation nearest to it, so the terms are ``(s - 1)^2`` of the singular
    values s of F, of which the smallest counts as negative where F mirrors. R minimises the energy: the gradient
    through it vanishes, which leaves ``2 w (F - R)``.
    """
    corners = positions[:, :, table.vertex]
    edges = corners[..., 1:] - corners[..., :1]
    F = torch.einsum("bitk,tkj->btij", edges, table.inverse_edges.to(positions.dtype))
    R = nearest_rotation(F.detach())
    return ((F - R).square().sum(dim=(-2, -1)) * table.weights.to(positions.dtype)).sum(dim=-1)


def nearest_rotation(F: Tensor) -> Tensor:
    """The rotation R that minimises ``|F - R|`` for matrices ``(... 3 3)``; some such rotation where it is not unique.

    The largest ``tr R^T F`` is the largest root of the characteristic polynomial of Davenport's 4 x 4 matrix, to which
    Newton's method descends from above. Where two roots meet that loses its digits, and a decomposition takes over.
    """
    size = torch.linalg.matrix_norm(F)[..., None, None]
    M = F / size.clamp_min(torch.finfo(F.dtype).tiny)
    columns = M.unbind(-1)
    cofactors = torch.stack([torch.linalg.cross(columns[i - 2], columns[i - 1]) for i in range(3)], dim=-1)
    determinant = (columns[0] * cofactors[..., 0]).sum(-1)[..., None, None]
    constant = 1.0 - 4.0 * cofactors.square().sum(dim=(-2, -1), keepdim=True)
    root = torch.full_like(determinant, 3.0**0.5)
    for _ in range(20):
        slope = 4.0 * root * (root.square() - 1.0) - 8.0 * determinant
        value = (root.square() - 2.0) * root.square() - 8.0 * determinant * root + constant
        root = root - value / slope.clamp_min(1e-6)
    slope = (4.0 * root * (root.square() - 1.0) - 8.0 * determinant).clamp_min(1e-6)
    R = 4.0 * ((root.square() + 1.0) * M + 2.0 * root * cofactors - 2.0 * M @ M.mT @ M) / slope
    error = (R.mT @ R - torch.eye(3, dtype=F.dtype, device=F.device)).abs().amax(dim=(-2, -1))
    lost = ~(error < 100.0 * torch.finfo(F.dtype).eps) & M.isfinite().all(dim=-1).all(dim=-1)
    if bool(lost.any()):
        R[lost] = _nearest_rotation_by_decomposition(M[lost])
    return R


def _nearest_rotation_by_decomposition(F: Tensor) -> Tensor:
    U, _, Vh = torch.linalg.svd(F)
    sign = torch.linalg.det(U @ Vh).sign()
    return torch.cat([U[..., :2], U[..., 2:] * sign[:, None, None]], dim=-1) @ Vh
