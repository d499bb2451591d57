"""Can one radiance field explain all edited views? PSNR of held-out *edited* views under a field trained on the others.

Inconsistent views contradict each other, so that the field blurs them and misses the views it has not seen. No truth is
needed, so this figure exists for real captures too. A blurred edit scores well: quote it beside a fidelity figure.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from torch import Tensor

from qnerf.common.finite import require_finite
from qnerf.fields.rgb_field import train_rgb_field
from qnerf.fields.settings import RgbFieldSettings
from qnerf.fields.space import Space
from qnerf.metrics.evaluate import Show, unseen
from qnerf.metrics.fidelity import psnr
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.scene import Scene

log = logging.getLogger(__name__)

Render = Callable[[Cameras], Tensor]
Train = Callable[[Tensor, Cameras], Render]


def split_views(count: int, every: int) -> tuple[list[int], list[int]]:
    """Indices of the training views and of the held-out ones, every `every`-th."""
    held_out = list(range(every - 1, count, every))
    return [view for view in range(count) if view not in held_out], held_out


def tested_views(count: int, every: int) -> float:
    """How many of `count` views are held out; NaN where that leaves none to test or fewer than two
    to train."""
    kept, held_out = split_views(count, every)
    return float("nan") if len(kept) < 2 or not held_out else float(len(held_out))


def heldout_in_scene(edited: Tensor, scene: Scene, every: int, settings: RgbFieldSettings, seed: int, show: Show = unseen) -> float:
    """`heldout_psnr` of a scene's edited views, by a radiance field of these settings in the scene's region of interest. show:
    takes each held-out view's index and what the field renders there, (3, H, W)."""
    space = Space(scene.focus, scene.radius)

    def train(images: Tensor, cameras: Cameras) -> Render:
        field = train_rgb_field(images, cameras, space, settings, seed)
        return lambda held_out: field.render(held_out)[0]

    return heldout_psnr(edited, scene.cameras, every, train, show)


def heldout_psnr(images: Tensor, cameras: Cameras, every: int, train: Train, show: Show = unseen) -> float:
    """PSNR, dB, of the held-out views (N, 3, H, W); NaN where a split leaves no view to test or fewer than two to train.
    Raises UserError where the field renders NaN.

    train: fits a radiance field to images and cameras, and returns what renders it as (M, 3, H, W) in [0, 1].
    show: as in `heldout_in_scene`.
    """
    kept, held_out = split_views(len(cameras), every)
    if len(kept) < 2 or not held_out:
        log.info("No heldout_psnr: of %d views, every %d. held out, it takes two to train and one to test.", len(cameras), every)
        return float("nan")
    render = train(images[kept], cameras[kept])
    rendered = render(cameras[held_out])
    require_finite(rendered, "heldout_psnr: renderings of its radiance field", [f"view {view}" for view in held_out])
    for view, picture in zip(held_out, rendered, strict=True):
        show(view, picture)
    return psnr(rendered, images[held_out])
