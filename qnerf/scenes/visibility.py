"""How much of an edit the views show: of an edit that lies outside of them, nothing comes."""

from __future__ import annotations

import torch
from torch import Tensor

from qnerf.scenes.cameras import Cameras
from qnerf.scenes.scene import Proxy

LEAST_SHARE = 0.5
_STEPS = 5  # points along a bone or an edge


def visible_share(proxy: Proxy, cameras: Cameras) -> Tensor:
    """Of every view, (N,) in [0, 1]: the share of what the edit moves, before and after it, that lies inside
    the image."""
    points = moved_points(proxy)
    pixels, depth = cameras.project(points.to(cameras.focal))
    limits = pixels.new_tensor([cameras.width, cameras.height])
    inside = (depth > 0) & (pixels >= 0).all(dim=-1) & (pixels <= limits).all(dim=-1)
    return inside.float().mean(dim=1)


def moved_points(proxy: Proxy) -> Tensor:
    """Points (P, 3) of the bones or edges that the edit moves, before and after it; of all of them where none
    moves."""
    size = (proxy.source.amax(dim=0) - proxy.source.amin(dim=0)).max()
    moves = (proxy.source - proxy.target).norm(dim=1) > 1e-5 * size
    pairs = proxy.bones or tuple((joint, joint) for joint in range(len(proxy.joints)))
    moved = [pair for pair in pairs if moves[pair[0]] or moves[pair[1]]] or list(pairs)
    begin, end = (torch.tensor([pair[side] for pair in moved]) for side in (0, 1))
    share = torch.linspace(0, 1, _STEPS)[:, None, None]
    return torch.cat([torch.lerp(points[begin], points[end], share).reshape(-1, 3) for points in (proxy.source, proxy.target)])


def visibility_problem(where: str, proxy: Proxy, cameras: Cameras, names: tuple[str, ...]) -> tuple[str | None, str | None]:
    """What makes the edit one that no view shows, and a warning that names the views that show less than half
    of it; None each where there is nothing to say. where: the proxy's file."""
    share = visible_share(proxy, cameras)
    if not (share > 0).any():
        middle = ", ".join(f"{value:.4g}" for value in proxy.source.mean(dim=0).tolist())
        found = f"no view shows anything of the proxy, whose middle is ({middle})"
        advice = "give it in the capture's own axes and units"
        return f"{where}: {found}, expected it where the cameras look: {advice}.", None
    few = [name for name, seen in zip(names, share.tolist(), strict=True) if seen < LEAST_SHARE]
    if not few:
        return None, None
    shown = ", ".join(few[:5]) + (" …" if len(few) > 5 else "")
    return None, f"{where}: {len(few)} of {len(names)} views show less than half of what the edit moves ({shown})"
