"""The loose depth: how near the inflated solids that bound an object are (LooseControl, Bhat et al., SIGGRAPH 2024).

It bounds the object and does not trace it. Grey values, alike on the three channels: 0 where a ray meets no bound; else
1 - 0.8 (t - d + R) / 2R for a ray that meets one at distance t, d being the distance to the centre of the ball round the
bounds of both states and R its radius. So 1 is the ball's nearest point, 0.2 its farthest, and what the edit does not move
keeps its grey.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from qnerf.scenes.bounds import ball_round, proxy_bounds
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.scene import Proxy, State
from qnerf.scenes.solids import FAR, Solid

FARTHEST = 0.2  # the grey of the ball's farthest point: well above the 0 of nothing


def draw_loose_depth(proxy: Proxy, state: State, cameras: Cameras, size: tuple[int, int]) -> Tensor:
    """The loose depth of a proxy's state in every camera: (N, 3, H, W) float32 in [0, 1].

    size: (height, width) of the drawing; the cameras are scaled to it.
    """
    solids = [*proxy_bounds(proxy, "source").solids, *proxy_bounds(proxy, "target").solids]
    ball = ball_round(solids)
    drawn = [loose_depth_image(*ray, proxy_bounds(proxy, state).solids, ball) for ray in _rays(cameras, size)]
    return torch.from_numpy(np.stack(drawn)).to(cameras.focal.device)


def bounds_distance(proxy: Proxy, state: State, cameras: Cameras, size: tuple[int, int]) -> Tensor:
    """Distance along each pixel's ray to what bounds the object, (N, H, W) float32 in world units, inf where nothing does."""
    solids, (height, width) = proxy_bounds(proxy, state).solids, size
    found = [nearest(origin, rays.reshape(-1, 3), solids).reshape(height, width) for origin, rays in _rays(cameras, size)]
    distance = torch.from_numpy(np.stack(found)).to(cameras.focal.device)
    return torch.where(distance < FAR, distance, torch.inf)


def _rays(cameras: Cameras, size: tuple[int, int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Origin (3,) float64 and unit directions (H, W, 3) float32 of each camera's pixels at that size."""
    height, width = size
    rays = cameras.resized(width, height).token_rays(height, width)
    origins, directions = rays.origins[:, 0, 0].cpu().double().numpy(), rays.directions.cpu().float().numpy()
    return list(zip(origins, directions, strict=True))


def loose_depth_image(
    origin: np.ndarray, directions: np.ndarray, solids: Sequence[Solid], ball: tuple[np.ndarray, float]
) -> np.ndarray:
    """One view of the loose depth, (3, H, W). origin: (3,). directions: (H, W, 3) unit. ball: centre (3,) and radius."""
    height, width = directions.shape[:2]
    distance = nearest(origin, directions.reshape(-1, 3).astype(np.float32), solids)
    centre, radius = ball
    away = float(np.linalg.norm(centre - origin))
    depth = np.clip((distance - np.float32(away - radius)) / np.float32(2 * radius), 0, 1)
    grey = np.where(distance < FAR, 1 - (1 - FARTHEST) * depth, 0).astype(np.float32)
    return np.repeat(grey.reshape(1, height, width), 3, axis=0)


def nearest(origin: np.ndarray, directions: np.ndarray, solids: Sequence[Solid]) -> np.ndarray:
    """Distances (P,) at which rays (P, 3) first meet a solid, FAR where none; only rays into a solid's ball are looked at."""
    distance = np.full(len(directions), FAR, dtype=np.float32)
    for solid in solids:
        centre, radius = ball_round([solid])
        towards = (centre - origin).astype(np.float32)
        least = float(towards @ towards) - radius**2
        rows = np.flatnonzero(directions @ towards >= np.sqrt(least)) if least > 0 else np.arange(len(directions))
        distance[rows] = np.minimum(distance[rows], solid.intersect(origin, directions[rows]))
    return distance
