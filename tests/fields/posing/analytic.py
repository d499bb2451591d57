"""Fields that are solids with a texture, known in closed form, and the truth of moved ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qnerf.fields.rendering import Samples, composite_weights
from qnerf.fields.space import Space
from qnerf.fields.token_rays import TokenGrid
from qnerf.scenes.cameras import Cameras, Rays
from qnerf.scenes.scene import Bounds, Proxy
from qnerf.scenes.solids import Box
from tests.fields.helpers import ring

OPAQUE, SOFT = 400.0, 0.004  # density inside, width of the surface
BASE = torch.tensor([[0.9, 0.3, 0.2], [0.2, 0.8, 0.4], [0.3, 0.3, 0.9]])


@dataclass(frozen=True)
class Tube:
    """A capsule from start to end whose colour changes along its axis; turn: of its texture, which
    is across it too."""

    start: Tensor
    end: Tensor
    radius: float
    colour: int = 0

    def distance(self, x: Tensor) -> Tensor:
        axis = self.end - self.start
        along = ((x - self.start) @ axis / (axis @ axis)).clamp(0, 1)
        return (x - self.start - along[:, None] * axis).norm(dim=-1) - self.radius

    def texture(self, x: Tensor) -> Tensor:
        axis = self.end - self.start
        along = (x - self.start) @ (axis / axis.norm())
        return BASE[self.colour] * (0.75 + 0.25 * (25 * along).sin())[:, None]


@dataclass(frozen=True)
class Block:
    """An upright box of half sizes half (3,) about a centre (3,), turned about z; its colour
    changes along its own axes."""

    centre: Tensor
    half: Tensor
    yaw: float
    colour: int = 0

    def local(self, x: Tensor) -> Tensor:
        yaw = torch.tensor(self.yaw)
        turn = torch.tensor([[yaw.cos(), -yaw.sin(), 0.0], [yaw.sin(), yaw.cos(), 0.0], [0.0, 0.0, 1.0]])
        return (x - self.centre) @ turn / self.half

    def distance(self, x: Tensor) -> Tensor:
        beyond = (self.local(x).abs() - 1) * self.half
        return beyond.clamp_min(0).norm(dim=-1) + beyond.amax(-1).clamp_max(0)

    def texture(self, x: Tensor) -> Tensor:
        local = self.local(x)
        return BASE[self.colour] * (0.7 + 0.15 * (6 * local[:, 0]).sin() + 0.15 * (6 * local[:, 2]).sin())[:, None]


@dataclass(frozen=True)
class Floor:
    """All below z = height."""

    height: float
    colour: int = 1

    def distance(self, x: Tensor) -> Tensor:
        return x[:, 2] - self.height

    def texture(self, x: Tensor) -> Tensor:
        return BASE[self.colour] * (0.75 + 0.25 * (8 * x[:, 0]).sin() * (8 * x[:, 1]).sin())[:, None]


class SolidField:
    """The three methods that posing needs, on solids; the surroundings are grey."""

    def __init__(self, solids: Sequence[Tube | Block | Floor], space: Space | None = None) -> None:
        self.solids = solids
        self.space = space or Space(torch.zeros(3), 1.0)

    def radiance(self, points: Tensor) -> tuple[Tensor, Tensor]:
        distances = torch.stack([solid.distance(points) for solid in self.solids])
        nearest, which = distances.min(0)
        colours = torch.stack([solid.texture(points) for solid in self.solids])
        return OPAQUE * torch.sigmoid(-nearest / SOFT), colours[which, torch.arange(len(points))]

    def surroundings(self, directions: Tensor) -> Tensor:
        return torch.full_like(directions, 0.5)

    def edges(self, rays: Rays, count: int) -> Tensor:
        middle = -(rays.origins * rays.directions).sum(-1, keepdim=True)
        return middle + torch.linspace(-1.2, 1.2, count + 1)


def render(field: SolidField, cameras: Cameras, count: int = 384) -> Tensor:
    """Images (N, 3, H, W), by many even samples."""
    grid = TokenGrid(len(cameras), cameras.height, cameras.width)
    found = []
    for pixels in torch.arange(len(grid)).split(2048):
        rays = grid.rays(cameras, pixels, torch.full((len(pixels), 2), 0.5))
        edges = field.edges(rays, count)
        points = rays.origins[:, None] + ((edges[:, 1:] + edges[:, :-1]) / 2)[..., None] * rays.directions[:, None]
        density, colour = field.radiance(points.view(-1, 3))
        weights = composite_weights(density.view(points.shape[:2]), Samples(edges[:, :-1], edges[:, 1:], points, 1.0))
        beyond = (1 - weights.sum(-1))[:, None] * field.surroundings(rays.directions)
        found.append((weights[..., None] * colour.view(points.shape)).sum(1) + beyond)
    size = (len(cameras), cameras.height, cameras.width)
    return torch.cat(found).view(*size, 3).permute(0, 3, 1, 2)


def skeleton(source: list[list[float]], target: list[list[float]], bones: tuple[tuple[int, int], ...]) -> Proxy:
    names = tuple(f"joint_{index}" for index in range(len(source)))
    return Proxy("skeleton", names, bones, torch.tensor(source), torch.tensor(target))


def cameras(count: int = 3, size: int = 64) -> Cameras:
    return ring(count).resized(size, size)


def psnr(found: Tensor, truth: Tensor, mask: Tensor | None = None) -> float:
    squared = (found - truth).square().mean(1)
    return float(-10 * (squared if mask is None else squared[mask]).mean().log10())


def chair(rise: float) -> Proxy:
    """A seat 1 wide and deep at height .5, with a back 1 high whose slab is .2 thick; the edit
    makes the back `rise` higher."""
    seat = [[x, y, 0.5] for y in (0.5, -0.5) for x in (-0.5, 0.5)]
    bones = ((0, 1), (2, 3), (0, 2), (1, 3), (2, 4), (3, 5), (4, 5))
    states = [torch.tensor([*seat, *([x, -0.5, 1.5 + more] for x in (-0.5, 0.5))]) for more in (0.0, rise)]
    body = Box(np.array([0.0, 0.1, 0.3]), np.array([0.6, 0.6, 0.35]), np.eye(3), 0.01, "bound")
    backs = [
        Box(np.array([0.0, -0.4, (1.6 + more) / 2]), np.array([0.6, 0.2, (1.6 + more) / 2]), np.eye(3), 0.01, "bound")
        for more in (0.0, rise)
    ]
    before, after = (Bounds((body, back), torch.zeros(8, 3)) for back in backs)
    return Proxy("skeleton", tuple("abcdef"), bones, states[0], states[1], before, after)
