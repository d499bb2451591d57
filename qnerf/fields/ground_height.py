"""Where the ground is: the height at which the views agree best on the colours of a horizontal plane."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from qnerf.fields.space import Space
from qnerf.scenes.cameras import Cameras

POINTS = 64
"""Per axis, of the square about the focus in which the views are compared."""
NOISE = 0.01
"""Difference of colours that says nothing."""
CONVINCING = 0.5
"""Largest disagreement of a ground: views of something else than a plane differ at a point as much as the points do."""


def ground_height(images: Tensor, cameras: Cameras, space: Space, hidden: Tensor) -> float | None:
    """z of the plane, world units, at most the focus's; None where the views agree on none.

    images: (N, 3, H, W). hidden: (N, H, W) bool, pixels that may show the object, which are not compared.
    """
    focus, radius = float(space.focus[2]), space.radius
    lowest = float(cameras.positions[:, 2].min())
    coarse = focus + radius * torch.linspace(-1.5, 0, 76)
    coarse = coarse[coarse < lowest - 0.1 * radius]
    if not len(coarse):
        return None
    best, _ = _best(coarse, images, cameras, space, hidden)
    best, score = _best(best + radius * torch.linspace(-0.02, 0.02, 17), images, cameras, space, hidden)
    return best if score < CONVINCING else None


def _best(heights: Tensor, images: Tensor, cameras: Cameras, space: Space, hidden: Tensor) -> tuple[float, float]:
    """The height with the least disagreement, and that."""
    scores = torch.stack([disagreement(float(height), images, cameras, space, hidden) for height in heights])
    return float(heights[scores.argmin()]), float(scores.min())


def disagreement(height: float, images: Tensor, cameras: Cameras, space: Space, hidden: Tensor) -> Tensor:
    """How much the views differ in the colours of points on the plane, as a share of how much the points do: means of standard
    deviations, over the points that at least three views see; inf where few are."""
    axis = torch.linspace(-1, 1, POINTS, device=images.device) * space.radius
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    centre = space.focus.to(images)
    points = torch.stack([x + centre[0], y + centre[1], torch.full_like(x, height)], dim=-1).view(-1, 3)
    pixels, z_depth = cameras.project(points)
    places = (pixels / pixels.new_tensor([cameras.width, cameras.height]) * 2 - 1)[:, :, None]
    colours = grid_sample(images, places, align_corners=False)[..., 0]
    covered = grid_sample(hidden.float()[:, None], places, align_corners=False)[:, 0, :, 0]
    seen = (z_depth > 0) & (places[:, :, 0].abs() < 1).all(dim=-1) & (covered == 0)
    count = seen.sum(dim=0)
    enough = count >= 3
    if enough.sum() < POINTS:
        return torch.tensor(torch.inf)
    colours, seen, count = colours[:, :, enough], seen[:, None, enough], count[enough]
    mean = (colours * seen).sum(dim=0) / count
    within = (((colours - mean).square() * seen).sum(dim=0) / (count - 1)).sum(dim=0).sqrt().mean()
    between = mean.var(dim=1).sum().sqrt()
    return ((within + NOISE) / (between + NOISE)).cpu()
