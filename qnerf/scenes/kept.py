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
NOTICED = 0.02  # share of a pixel that a moved part covers, from which on it changes


def change_mask(scene: Scene, margin: float, seen: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """How far each pixel of the views may change, (N, H, W) in [0, 1], on the images' device: 1 where a part that moves may be
    before or after the edit and where its shadow may fall beside the object, falling to 0 over a soft edge; 0 everywhere else. On
    the object itself the shadow stays the source's: what the model drew there was farther from the truth (docs/log.md).

    margin: thickness round the proxy's bones, as a share of its height. A scene without a proxy may change where its masks say, or
    everywhere.
    seen: of the posed views, how far each pixel changes and how far it is trusted, (N, H, W) each: the proxy's thickness gives
    way to what the source's radiance field shows to move, as far as it is trusted.
    """
    proxy, cameras = scene.proxy, scene.cameras
    size = (cameras.height, cameras.width)
    edge = max(LEAST_EDGE, EDGE * min(size))
    if proxy is None:
        return soft_edged(given_region(scene.masks, len(cameras), size).moved, edge).to(scene.images)
    zero = scene.world.zero
    light = find_light(proxy, scene.images, cameras, margin, zero)
    shadow = shadow_region(proxy, cameras, size, margin, light, finer=1, zero=zero)
    region = edited_region(proxy, cameras, size, margin, finer=1)
    moved, shadow = region.moved, shadow * (1 - region.object)
    mask = soft_edged(torch.maximum(moved, shadow), edge).to(scene.images)
    if seen is None:
        return mask
    changed, trust = (each.to(scene.images) for each in seen)
    shown = soft_edged(torch.maximum((changed > NOTICED).to(shadow), shadow), edge).to(scene.images)
    return torch.minimum(mask, 1 - trust * (1 - shown))


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


def keep_posed(decoded: Tensor, posed: Tensor, moved: Tensor, trust: Tensor) -> Tensor:
    """Decoded views (N, 3, H, W) with the posed views' pixels on moved parts, as far as these are opaque there and trusted.

    posed: (N, 3, H, W). moved: (N, H, W), opacity of moved parts after the edit. trust: (N, H, W). All in [0, 1]. Where a part has
    left, and in shadows, the decoded views stay: there the source's field knows less than the model.
    """
    return torch.lerp(decoded, posed.to(decoded), (moved * trust)[:, None].to(decoded))
