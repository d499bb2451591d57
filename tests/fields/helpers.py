"""A small world for the fields' tests: a sphere with smooth features, seen from a ring."""

import math

import torch
from torch import Tensor

from qnerf.fields.settings import EncodingSettings, FieldSettings, InitialDensitySettings, OptimiserSettings, SamplingSettings
from qnerf.fields.space import Space
from qnerf.scenes.cameras import Cameras

SPACE = Space(torch.zeros(3), 1.1)
GRID = EncodingSettings(levels=4, features_per_level=4, log2_table_size=13, base_resolution=4, finest_resolution=64)
DENSITY = InitialDensitySettings(surroundings=0.3)  # the sphere all but fills the ball of interest, where others fill half of it
SAMPLING = SamplingSettings(
    near_fraction=0.55,
    far_radii=3.0,
    coarse_samples=24,
    fine_samples=12,
    render_samples=16,
    proposal_resolution=12,
    proposal_every=10,
    uniform_share=0.5,
)


def field_settings(iterations: int = 4, **changes: object) -> FieldSettings:
    optimiser = OptimiserSettings(iterations=iterations, rays_per_batch=128, learning_rate=0.03, final_learning_rate=0.003)
    small = FieldSettings(
        grid=GRID, initial_density=DENSITY, sampling=SAMPLING, optimiser=optimiser, hidden_width=32, geometry_width=16
    )
    return small.model_copy(update=changes)


def ring(views: int, start: float = 0.0, pixels: int = 32, distance: float = 3.0) -> Cameras:
    poses = []
    for index in range(views):
        angle = 2 * math.pi * (index + start) / views
        eye = torch.tensor([math.cos(angle), math.sin(angle), 0.3]) * distance
        back = eye / eye.norm()
        right = torch.linalg.cross(torch.tensor([0.0, 0.0, 1.0]), back)
        right = right / right.norm()
        pose = torch.eye(4)
        pose[:3, :4] = torch.stack([right, torch.linalg.cross(back, right), back, eye], dim=1)
        poses.append(pose)
    focal = torch.full((views, 2), 1.2 * pixels)
    return Cameras(torch.stack(poses), focal, torch.full((views, 2), pixels / 2), pixels, pixels)


def sphere(cameras: Cameras, size: int, channels: int) -> tuple[Tensor, Tensor]:
    """Features (V, size, size, channels) of a unit sphere before a plain background, and its depth (inf beside it)."""
    rays = cameras.token_rays(size, size)
    along = -(rays.origins * rays.directions).sum(-1)
    miss = (rays.origins + along[..., None] * rays.directions).norm(dim=-1)
    depth = torch.where(miss < 1, along - (1 - miss.square()).clamp_min(0).sqrt(), torch.inf)
    surface = rays.origins + torch.where(miss < 1, depth, 0.0)[..., None] * rays.directions
    generator = torch.Generator().manual_seed(channels)
    frequency, phase = torch.randn(3, channels, generator=generator), torch.rand(channels, generator=generator)
    return torch.where((miss < 1)[..., None], torch.sin(surface @ frequency + 6 * phase), phase), depth


def patch_means(cameras: Cameras, size: int, channels: int) -> Tensor:
    """The sphere's features averaged over each token's patch: what a token sees."""
    fine = sphere(cameras, 4 * size, channels)[0]
    return fine.view(len(cameras), size, 4, size, 4, channels).mean(dim=(2, 4))


def queries(cameras: Cameras) -> dict[str, Tensor]:
    return {
        "up_blocks.1.a": 3 + 2 * patch_means(cameras, 4, 6),
        "up_blocks.2.a": patch_means(cameras, 8, 5),
        "up_blocks.2.b": patch_means(cameras, 8, 7),
    }
