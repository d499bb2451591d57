"""Where in every view the edit happens: the old and the new proxy, inflated (METHOD §2.5, restriction ours)."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.scenes.bounds import bounding_box
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.loose_depth import draw_loose_depth
from qnerf.scenes.scene import Proxy

_NEAR = 1e-3  # world units in front of the camera: anything nearer is skipped
_FINER = 8  # the region is drawn this many times finer than asked for, then any touched cell counts
_FAR_OFF = 16_000.0  # pixels: inside cv2's range


def edited_region(proxy: Proxy, cameras: Cameras, size: tuple[int, int], margin: float) -> Tensor:
    """(N, h, w) float32, 1 where the object may be before or after the edit, 0 elsewhere. size: (h, w), say of the latents.

    margin: radius of the flesh round a skeleton's bones, as a share of the proxy's height (its largest extent); a box is
    filled and grown by as much. A proxy that has bounds is where these are: they leave room enough by themselves.
    Cells that the inflated proxies only touch count too.
    """
    points = torch.stack([proxy.source, proxy.target]).double().cpu()
    extent = float((points.amax(dim=(0, 1)) - points.amin(dim=(0, 1))).max())
    height, width = size[0] * _FINER, size[1] * _FINER
    if proxy.source_bounds is not None and proxy.target_bounds is not None:
        bounded = [draw_loose_depth(proxy, state, cameras, (height, width))[:, :1] for state in ("source", "target")]
        return (F.max_pool2d(torch.maximum(*bounded), _FINER)[:, 0] > 0).float()
    views = cameras.resized(width, height)
    canvas = np.zeros((len(cameras), height, width), dtype=np.uint8)
    for pose in points:
        if proxy.kind == "box":
            pose = _grown(bounding_box(pose), margin * extent)
        pixels, z_depth = (x.cpu().double().numpy() for x in views.project(pose.to(cameras.focal)))
        focal = views.focal[:, 0].tolist()
        for view, (xy, z) in enumerate(zip(pixels, z_depth, strict=True)):
            if proxy.kind == "box":
                _fill(canvas[view], xy, z)
            else:
                _inflate(canvas[view], xy, z, proxy.bones, margin * extent * focal[view])
    cells = canvas.reshape(len(cameras), size[0], _FINER, size[1], _FINER).max(axis=(2, 4))
    return torch.from_numpy((cells > 0).astype(np.float32)).to(cameras.focal.device)


def _grown(corners: Tensor, by: float) -> Tensor:
    centre = corners.mean(dim=0)
    return corners + by * (corners - centre).sign()


def _fill(canvas: np.ndarray, pixels: np.ndarray, z_depth: np.ndarray) -> None:
    """The convex hull of a box's corners; the whole view where a corner lies behind the camera."""
    if (z_depth <= _NEAR).any():
        canvas[:] = 1
        return
    hull = cv2.convexHull(np.rint(pixels.clip(-_FAR_OFF, _FAR_OFF)).astype(np.int32))
    cv2.fillConvexPoly(canvas, hull, 1)


def _inflate(canvas: np.ndarray, pixels: np.ndarray, z_depth: np.ndarray, bones: tuple[tuple[int, int], ...], size: float) -> None:
    """Each bone as a stroke whose half width is `size` / depth pixels, the radius seen from there."""
    ends = np.rint(pixels.clip(-_FAR_OFF, _FAR_OFF)).astype(int).tolist()
    for a, b in bones:
        depth = min(z_depth[a], z_depth[b])
        if depth > _NEAR:
            cv2.line(canvas, ends[a], ends[b], 1, max(1, round(2 * size / depth)))
