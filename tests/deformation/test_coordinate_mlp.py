"""The decoder: identity at the start, the split first layer, the encoding; and its learned inverse."""

from __future__ import annotations

import torch

from dynaflex.deformation.coordinate_mlp import CoordinateMLP
from dynaflex.deformation.inverse import InverseDeformation, inverse_loss
from dynaflex.losses.graph import neighbour_graph


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stirred(**options: int) -> CoordinateMLP:
    """A decoder whose last layer is no longer zero."""
    decoder = CoordinateMLP(3, 200.0, generator=seeded(), **options)
    with torch.no_grad():
        decoder.w_out.copy_(torch.randn(decoder.w_out.shape, generator=seeded(1)))
    return decoder


def test_identity_at_the_start() -> None:
    decoder = CoordinateMLP(3, 200.0, generator=seeded())
    points = torch.randn(50, 3) * 40
    assert torch.equal(decoder.carry(torch.randn(4, 3), points), points.expand(4, 50, 3))


def test_has_the_layers_of_the_paper() -> None:
    decoder = CoordinateMLP(3, 200.0, layers=8, width=32, frequencies=10)
    assert decoder.w_space.shape == (32, 60)
    assert decoder.w_hidden.shape == (6, 32, 32)  # with the first and the last: eight linear layers
    assert decoder.encode_positions(torch.zeros(5, 3)).shape == (5, 60)


def test_split_first_layer_equals_the_network_on_the_concatenated_input() -> None:
    decoder = stirred(layers=4)
    points, latents = torch.randn(20, 3) * 30, torch.randn(5, 3)
    encoded = decoder.encode_positions(points)
    joined = torch.cat([encoded.expand(5, -1, -1), latents[:, None].expand(-1, 20, -1)], dim=2)
    first = torch.cat([decoder.w_space, decoder.w_latent], dim=1)
    hidden = torch.nn.functional.elu(joined @ first.T + decoder.bias)
    for weight, bias in zip(decoder.w_hidden, decoder.b_hidden, strict=True):
        hidden = torch.nn.functional.elu(hidden @ weight.T + bias)
    truth = hidden @ decoder.w_out.T * decoder.unit
    assert torch.allclose(decoder.displacement(latents, points), truth, atol=1e-4)


def test_defined_at_any_point_and_equal_wherever_it_is_asked() -> None:
    decoder = stirred()
    points, latents = torch.randn(40, 3) * 30, torch.randn(2, 3)
    whole = decoder.displacement(latents, points)
    assert torch.allclose(whole[:, 7:9], decoder.displacement(latents, points[7:9]), atol=1e-4)


def test_gradients_reach_latents_and_positions() -> None:
    decoder = stirred().double()
    points = (torch.randn(6, 3, generator=seeded(2), dtype=torch.float64) * 20).requires_grad_()
    latents = torch.randn(2, 3, generator=seeded(3), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(decoder.displacement, (latents, points), eps=1e-5, atol=1e-3)


def test_inverse_learns_to_undo_a_known_deformation() -> None:
    points = torch.randn(150, 3, generator=seeded(4)) * 30
    edges = neighbour_graph(points).edges
    inverse = InverseDeformation(1, 200.0, seeded(5))
    optimiser = torch.optim.Adam(inverse.parameters(), lr=3e-3)
    for step in range(200):
        z = torch.rand(4, 1, generator=seeded(100 + step)) * 2 - 1
        deformed = points + z[:, :, None] * torch.tensor([6.0, 0.0, -3.0])
        optimiser.zero_grad()
        inverse_loss(inverse, z, deformed, points, edges).backward()
        optimiser.step()
    z = torch.tensor([[0.8]])
    deformed = points + z[:, :, None] * torch.tensor([6.0, 0.0, -3.0])
    error = (inverse.origins(z, deformed)[0] - points).norm(dim=1).mean()
    assert error < 0.15 * (deformed[0] - points).norm(dim=1).mean()
    # Where the field does not depend on the place, pulling with the turned sign is exact.
    assert (inverse.pull(z, deformed[0])[0] - (deformed[0] - points)).norm(dim=1).mean() < 1.0
