"""What can be said of a capture before an edit: a verdict on each of its parts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from qnerf.scenes.cameras import Cameras
from qnerf.scenes.focus import MISSED, NEARLY_PARALLEL, optical_axes
from qnerf.scenes.masks_and_depth import range_of_depth
from qnerf.scenes.scene import Scene
from qnerf.scenes.visibility import LEAST_SHARE, visible_share

Verdict = Literal["good", "weak"]
FEW_VIEWS = 6
LOST = 0.1  # of the edit that the crop may cut off more than the photograph's own frame does


@dataclass(frozen=True)
class Check:
    """name: of the part. verdict: good, or weak evidence. said: a sentence with the figures it rests on."""

    name: str
    verdict: Verdict
    said: str


@dataclass(frozen=True)
class Visible:
    """Shares (N,) of what the edit moves that lie inside of the view, and inside of the whole photograph."""

    view: torch.Tensor
    photograph: torch.Tensor


def checks_of(
    scene: Scene, lenses: Sequence[str], sizes: Sequence[tuple[int, int]], notes: Sequence[str], visible: Visible | None
) -> list[Check]:
    """The verdicts. lenses, sizes: of each view's photograph, the size as width and height. notes: what
    reading had to say. visible: None without a proxy."""
    poses = scene.cameras.camera_to_world.double().cpu().numpy()
    return [
        _views(scene),
        Check("Images", "good", _counted(sizes)),
        Check("Lenses", "good", f"{', '.join(sorted(set(lenses)))}; {_angles(scene.cameras)}"),
        _axes(poses),
        _focus(scene),
        *_beside(scene),
        *(
            [_edit(scene, visible), _crop(scene, visible)]
            if visible
            else [Check("Proxy", "weak", "none is given: set scene.proxy to its file")]
        ),
        *(Check("Reading", "weak", note) for note in notes),
    ]


def _views(scene: Scene) -> Check:
    count = len(scene.view_names)
    few = f": an edit agrees better over {FEW_VIEWS} and more" if count < FEW_VIEWS else ""
    return Check("Views", "weak" if few else "good", f"{count} views{few}")


def _counted(sizes: Sequence[tuple[int, int]]) -> str:
    counts = Counter(sizes)
    return "; ".join(f"{count} of {width} x {height} pixels" for (width, height), count in counts.most_common(4))


def _angles(cameras: Cameras) -> str:
    widths = torch.rad2deg(2 * torch.atan(cameras.width / 2 / cameras.focal[:, 0]))
    low, high = widths.min().item(), widths.max().item()
    return f"the views are {low:.0f}°" + (f" to {high:.0f}°" if high - low > 1 else "") + " wide"


def _axes(poses: np.ndarray) -> Check:
    axes = optical_axes(poses)
    spread = math.degrees(math.asin(math.sqrt(min(1.0, max(0.0, axes.spread) / 2))))
    said = f"spread {spread:.0f}°, pass their nearest point at {axes.missed:.1%} of the cameras' distance"
    said += f"; it lies before {axes.ahead:.0%} of them"
    weak = axes.spread <= NEARLY_PARALLEL or axes.missed > MISSED or axes.ahead < 0.9
    return Check("Optical axes", "weak" if weak else "good", said)


def _focus(scene: Scene) -> Check:
    pixels, depth = scene.cameras.project(scene.focus[None])
    limits = pixels.new_tensor([scene.cameras.width, scene.cameras.height])
    inside = ((depth > 0) & (pixels >= 0).all(-1) & (pixels <= limits).all(-1))[:, 0]
    place = ", ".join(f"{value:.4g}" for value in scene.world.outward(scene.focus.cpu().numpy()))
    said = f"({place}), radius {scene.radius * scene.world.scale:.4g}; {int(inside.sum())} of {len(inside)} views show it"
    missing = [name for name, seen in zip(scene.view_names, inside.tolist(), strict=True) if not seen]
    return Check("Focus", "weak" if missing else "good", said + _named(missing))


def _edit(scene: Scene, visible: Visible) -> Check:
    few = [name for name, share in zip(scene.view_names, visible.view.tolist(), strict=True) if share < LEAST_SHARE]
    said = f"{len(few)} of {len(visible.view)} views show less than half of what the edit moves{_named(few)}"
    return Check("Edit in the views", "weak" if few else "good", said)


def _crop(scene: Scene, visible: Visible) -> Check:
    lost = (visible.photograph - visible.view).tolist()
    cut = [name for name, share in zip(scene.view_names, lost, strict=True) if share > LOST]
    advice = ": set scene.crop=false" if len(cut) * 2 > len(lost) else ""
    return Check(
        "Crop", "weak" if cut else "good", f"it cuts off a part of the edit in {len(cut)} of {len(lost)} views{_named(cut)}{advice}"
    )


def _beside(scene: Scene) -> list[Check]:
    """Of the masks and the depth that the capture has."""
    found = []
    if scene.valid is not None:
        found.append(Check("Masks", "good", f"{scene.valid.float().mean().item():.0%} of the pixels count"))
    if scene.depth is not None and (ends := range_of_depth(scene.depth)):
        share = torch.isfinite(scene.depth).float().mean().item()
        near, far = (end * scene.world.scale for end in ends)
        found.append(Check("Depth", "good", f"known in {share:.0%} of the pixels, from {near:.4g} to {far:.4g} off the cameras"))
    return found


def _named(names: Sequence[str]) -> str:
    return f" ({', '.join(names[:5])}{' …' if len(names) > 5 else ''})" if names else ""


def photograph_share(scene: Scene, cameras: Sequence[Cameras]) -> torch.Tensor:
    """The share (N,) of what the edit moves inside of whole photographs, of the scene's proxy. cameras: one
    of each."""
    assert scene.proxy is not None
    return torch.cat([visible_share(scene.proxy, camera) for camera in cameras])
