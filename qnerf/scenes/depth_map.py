"""The depth that MiDaS-trained ControlNets know: a whole frame of inverse depth, near is bright.

The scene's own depth is the background; where the proxy was before the edit, it is filled in from around, and the bounds of the
proxy stand in it where they are before or after the edit. Greys are a view's own, from its farthest point (0) to its nearest (1),
and the same before and after the edit, so that what is not moved keeps its grey.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from qnerf.scenes.cameras import Cameras
from qnerf.scenes.loose_depth import bounds_distance
from qnerf.scenes.scene import Proxy, State

_RIM = 2  # pixels round the proxy's bounds that are filled in too


def draw_depth_map(proxy: Proxy, state: State, cameras: Cameras, size: tuple[int, int], depth: Tensor) -> Tensor:
    """The inverse depth of every view, (N, 3, H, W) float32 in [0, 1]. size: (height, width). depth: (N, H, W), the source scene's
    distance along each pixel's ray, world units; infinite where there is nothing."""
    height, width = size
    rays = cameras.resized(width, height).token_rays(height, width)
    forward = -cameras.camera_to_world[:, None, None, :3, 2]
    cosine = (rays.directions * forward).sum(dim=-1).cpu()
    distance = {s: bounds_distance(proxy, s, cameras, size).cpu() for s in ("source", "target")}
    inverse = {s: 1 / (d * cosine) for s, d in distance.items()}
    behind = fill_in(1 / (depth.cpu() * cosine), torch.isfinite(distance["source"]))
    both = torch.stack([torch.maximum(behind, own) for own in inverse.values()])
    low, high = both.amin(dim=(0, 2, 3)), both.amax(dim=(0, 2, 3))
    grey = (torch.maximum(behind, inverse[state]) - low[:, None, None]) / (high - low).clamp_min(1e-9)[:, None, None]
    return grey.float()[:, None].expand(-1, 3, -1, -1).contiguous().to(cameras.focal.device)


def fill_in(values: Tensor, hole: Tensor) -> Tensor:
    """Values (N, H, W), in a hole (N, H, W) bool and `_RIM` pixels round it those of the nearest pixel outside of it."""
    filled = []
    for view, inside in zip(values.float().numpy(), hole.numpy(), strict=True):
        wide = cv2.dilate(inside.astype(np.uint8), np.ones((2 * _RIM + 1,) * 2, np.uint8))
        if wide.all():
            filled.append(view)
            continue
        _, labels = cv2.distanceTransformWithLabels(wide, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        value_of = np.zeros(int(labels.max()) + 1, dtype=np.float32)
        nearest = labels.astype(np.int64)
        value_of[nearest[wide == 0]] = view[wide == 0]
        filled.append(value_of[nearest])
    return torch.from_numpy(np.stack(filled))
