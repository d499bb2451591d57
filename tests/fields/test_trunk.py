import math

import pytest
import torch

from qnerf.fields.rendering import composite_weights
from qnerf.fields.settings import InitialDensitySettings
from qnerf.fields.token_rays import TokenGrid
from qnerf.fields.trunk import Trunk
from tests.fields.helpers import SPACE, field_settings, ring


def test_density_starts_as_a_soft_ball_by_hand() -> None:
    start = InitialDensitySettings(centre=4.0, surroundings=0.25, spread=0.5)
    trunk = Trunk(field_settings(initial_density=start), SPACE, torch.device("cpu"), seed=0)
    with torch.no_grad():
        trunk.out.weight.zero_()
        trunk.out.bias.zero_()
    points = SPACE.to_cube(torch.tensor([[0.0, 0.0, 0.0], [0.55, 0.0, 0.0], [0.0, 0.0, 1e6]]))
    found = trunk.density(points).tolist()
    assert found == pytest.approx([4.0, 0.25 * 16 ** math.exp(-0.5), 0.25], rel=1e-3)
    assert trunk(points)[0].tolist() == pytest.approx(found)


def test_gradients_near_a_camera_are_weaker_and_values_are_not() -> None:
    """Against the definition: what is multiplied by s in the gradient is x s + (x (1 - s)) held fixed."""
    settings = field_settings()
    assert settings.sampling.scale_near_gradients
    trunk = Trunk(settings, SPACE, torch.device("cpu"), seed=0)
    cameras = ring(3)
    rays = TokenGrid(3, 4, 4).rays(cameras, torch.arange(20), torch.full((20, 2), 0.5))
    wanted = torch.randn(20, 7, settings.geometry_width, generator=torch.Generator().manual_seed(3))

    def loss(weights: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        return (weights[..., None] * (hidden - wanted).square()).sum()

    def gradients(value: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad(value, list(trunk.parameters())))

    samples, weights, hidden = trunk.march(rays, 7, None)
    found = gradients(loss(weights, hidden))
    density, plain = trunk(samples.positions)
    assert torch.equal(hidden, plain)
    assert torch.equal(weights, composite_weights(density, samples))
    far = (SPACE.focus - rays.origins).norm(dim=-1, keepdim=True)
    scale = ((samples.starts + samples.ends) / 2 / far).clamp_max(1).square()
    assert scale.min() < 0.9
    density = density * scale + (density * (1 - scale)).detach()
    held = plain * scale[..., None] + (plain * (1 - scale[..., None])).detach()
    for one, other in zip(found, gradients(loss(composite_weights(density, samples), held)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
