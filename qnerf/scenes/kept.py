"""The source's own pixels, kept where nothing moves (docs/method.md §4.7, ours)."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from qnerf.scenes.region import edited_region, given_region
from qnerf.scenes.scene import Scene
from qnerf.scenes.shadow import find_light, shadow_region

EDGE = 0.015  # width of the soft edge, as a share of the views' side
LEAST_EDGE = 2.0  # pixels


def change_mask(scene: Scene, margin: float) -> Tensor:
    """How far each pixel of the views may change, (N, H, W) in [0, 1], on the images' device: 1 where a part that moves may be
    before or after the edit and where its shadow may be, falling to 0 over a soft edge; 0 everywhere else.

    margin: thickness round the proxy's bones, as a share of its height. A scene without a proxy may change where its masks say, or
    everywhere.
    """
    proxy, cameras = scene.proxy, scene.cameras
    size = (cameras.height, cameras.width)
    edge = max(LEAST_EDGE, EDGE * min(size))
    if proxy is None:
        return soft_edged(given_region(scene.masks, len(cameras), size).moved, edge).to(scene.images)
    shadow = shadow_region(proxy, cameras, size, margin, find_light(proxy, scene.images, cameras, margin), finer=1)
    moved = edited_region(proxy, cameras, size, margin, finer=1).moved
    return soft_edged(torch.maximum(moved, shadow), edge).to(scene.images)


def soft_edged(region: Tensor, width: float) -> Tensor:
    """1 in a region (N, H, W) of 0 and 1; outside it falls with the distance to it, and is 0 from `width` pixels on."""
    outside = (region.cpu().numpy() == 0).astype(np.uint8)
    # A view without any of the region has no distance to it.
    away = [cv2.distanceTransform(view, cv2.DIST_L2, 5) if not view.all() else np.full(view.shape, np.inf) for view in outside]
    near = torch.from_numpy(np.clip(1 - np.stack(away) / width, 0, 1).astype(np.float32)).to(region.device)
    return near * near * (3 - 2 * near)


def keep_pixels(decoded: Tensor, source: Tensor, mask: Tensor) -> Tensor:
    """Decoded views (N, 3, H, W) where the mask (N, H, W) is 1, the source's where it is 0, both bit by bit; a mixture between."""
    return torch.lerp(source, decoded, mask[:, None])
