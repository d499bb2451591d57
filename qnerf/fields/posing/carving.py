"""What is of the object and what only could be: matter that most pictures show the background of is no object.

A few views leave open whether air before a plain wall or floor is empty or has its colour. Fields fill some of it, and posing
would carry it along and uncover it. (Silhouettes against a known background: Laurentini, "The visual hull", 1994.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.fields.posing.flesh import Radiant
from qnerf.fields.posing.ground import Ground
from qnerf.fields.rendering import Samples, composite, composite_weights, expected_depth
from qnerf.fields.token_rays import TokenGrid
from qnerf.scenes.cameras import Cameras

RAY_CHUNK = 2048
COARSER = 2  # the source is looked at in a resolution lower by this
DIFFERENT = 0.06  # a pixel shows the object where a colour channel is farther than this from the background's


@dataclass(frozen=True)
class Room:
    """The box from low to high (3,) in which the object is, and the ground in it. clearance: as in `labels.Labels`."""

    low: Tensor
    high: Tensor
    ground: Ground | None
    clearance: float

    def holds(self, points: Tensor) -> Tensor:
        """Whether points (..., 3) lie in the box and above the ground, (...) bool."""
        inside = ((points >= self.low) & (points <= self.high)).all(-1)
        return inside if self.ground is None else inside & (self.ground.height(points) > self.clearance)


@dataclass(frozen=True)
class SourceViews:
    """The source's views as its field has them, smaller by `COARSER`. cameras: of N views of h x w pixels.

    images: (N, 3, h, w), the photographs. background: (N, 3, h, w), the field's picture without what is in the room. depth:
    (N, h, w), expected distance.
    """

    cameras: Cameras
    images: Tensor
    background: Tensor
    depth: Tensor

    def object_share(self, points: Tensor) -> Tensor:
        """Share of the views in which points (P, 3) are hidden by or part of something that is not background, (P,) in [0, 1].

        Views that a point is outside of do not count; 1 where all of them are such.
        """
        other = ((self.images - self.background).abs().amax(1, keepdim=True) > DIFFERENT).float()
        other = F.max_pool2d(other, 3, 1, 1)
        found, count = torch.zeros(len(points), device=points.device), torch.zeros(len(points), device=points.device)
        for view in range(len(self.cameras)):
            xy, z_depth = self.cameras[[view]].project(points)
            place = xy[0] / xy.new_tensor([self.cameras.width, self.cameras.height]) * 2 - 1
            inside = ((place.abs() < 1).all(-1) & (z_depth[0] > 1e-3)).float()
            shown = F.grid_sample(other[view : view + 1], place[None, None], mode="nearest", align_corners=False)[0, 0, 0]
            found, count = found + inside * shown, count + inside
        return torch.where(count > 0, found / count.clamp_min(1), 1.0)


def source_views(field: Radiant, cameras: Cameras, images: Tensor, room: Room, samples: int) -> SourceViews:
    """Look at the source's field from every camera. samples: a ray."""
    small = cameras.resized(max(1, cameras.width // COARSER), max(1, cameras.height // COARSER))
    grid = TokenGrid(len(small), small.height, small.width)
    depths, colours = [], []
    for pixels in torch.arange(len(grid), device=cameras.focal.device).split(RAY_CHUNK):
        rays = grid.rays(small, pixels, torch.full((len(pixels), 2), 0.5, device=pixels.device))
        edges = field.edges(rays, samples)
        points = rays.origins[:, None] + ((edges[:, 1:] + edges[:, :-1]) / 2)[..., None] * rays.directions[:, None]
        density, colour = field.radiance(points.view(-1, 3))
        density, intervals = density.view(points.shape[:2]), Samples(edges[:, :-1], edges[:, 1:], points, field.space.radius)
        depths.append(expected_depth(composite_weights(density, intervals), intervals))
        weights = composite_weights(torch.where(room.holds(points), 0.0, density), intervals)
        beyond = (1 - weights.sum(-1))[:, None] * field.surroundings(rays.directions)
        colours.append(composite(weights, colour.view(points.shape)) + beyond)
    size = (len(small), small.height, small.width)
    background = torch.cat(colours).view(*size, 3).permute(0, 3, 1, 2)
    return SourceViews(small, F.interpolate(images, size=size[1:], mode="area"), background, torch.cat(depths).view(size))
