"""The field of the source views: its losses against sums written out, and what it learns of a sphere."""

import torch

from qnerf.fields.rendering import Samples, composite, composite_weights
from qnerf.fields.settings import OptimiserSettings, SourceFieldSettings
from qnerf.fields.source_field import train_source_field
from qnerf.fields.token_rays import TokenGrid
from qnerf.scenes.cameras import Cameras
from tests.fields.helpers import DENSITY, GRID, SAMPLING, SPACE, ring, sphere


def settings(iterations: int, **changes: object) -> SourceFieldSettings:
    optimiser = OptimiserSettings(iterations=iterations, rays_per_batch=256, learning_rate=0.03, final_learning_rate=0.003)
    small = {"grid": GRID, "initial_density": DENSITY, "sampling": SAMPLING, "optimiser": optimiser, "hidden_width": 32}
    return SourceFieldSettings.model_validate({**small, "geometry_width": 8, **changes})


def images(cameras: Cameras) -> torch.Tensor:
    return (sphere(cameras, cameras.height, 3)[0].permute(0, 3, 1, 2) + 1) / 2


def test_what_it_renders_is_the_radiance_at_its_edges_composited() -> None:
    cameras = ring(3)
    field = train_source_field(images(cameras), cameras, SPACE, settings(8), seed=1)
    rays = TokenGrid(3, 32, 32).rays(cameras, torch.arange(0, 3072, 97), torch.full((32, 2), 0.5))
    edges = field.edges(rays, SAMPLING.render_samples)
    middle = (edges[:, 1:] + edges[:, :-1]) / 2
    points = rays.origins[:, None] + middle[..., None] * rays.directions[:, None]
    density, colour = field.radiance(points.view(-1, 3))
    weights = composite_weights(density.view(middle.shape), Samples(edges[:, :-1], edges[:, 1:], points, SPACE.radius))
    by_hand = composite(weights, colour.view(*middle.shape, 3)) + (1 - weights.sum(-1))[:, None] * field.surroundings(
        rays.directions
    )
    found = field.render(cameras)[0].permute(0, 2, 3, 1).reshape(-1, 3)[torch.arange(0, 3072, 97)]
    torch.testing.assert_close(found, by_hand.clamp(0, 1))
