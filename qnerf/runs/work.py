"""What the stages of a run share, and what several of them need: controls, encoding, decoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.process import Steps
from qnerf.config import RunSettings
from qnerf.denoising.views import chunks
from qnerf.errors import UserError
from qnerf.runs.folder import RunFolder
from qnerf.runs.progress import RunProgress
from qnerf.runs.stages import Stages
from qnerf.scenes.controls import draw_proxy_control
from qnerf.scenes.loose_depth import bounds_distance
from qnerf.scenes.region import EditedRegion, edited_region
from qnerf.scenes.scene import Scene
from qnerf.store.store import Store
from qnerf.trackers.tracker import Tracker


@dataclass(frozen=True)
class Workshop:
    """One run's settings and tools. The scene's tensors lie on the device. stages: what the store keeps each result by."""

    settings: RunSettings
    scene: Scene
    backbone: DiffusionBackbone
    device: torch.device
    folder: RunFolder
    store: Store
    stages: Stages
    progress: RunProgress
    tracker: Tracker

    @property
    def steps(self) -> Steps:
        """The run's denoising steps."""
        return self.backbone.process.steps(self.settings.steps)

    def text(self, prompt: str) -> Tensor:
        """The states of one prompt for every view, (N, L, C)."""
        return self.backbone.embed([prompt]).expand(len(self.scene.cameras), -1, -1)


@dataclass(frozen=True)
class Controls:
    """The proxy drawn into every view before and after the edit, each (N, 3, H, W) in [0, 1]; and where it is in either, at the
    latents' size. depth: (N, H, W) distance to what bounds it after the edit, where the field's depth term asks for it."""

    source: Tensor
    target: Tensor
    region: EditedRegion
    depth: Tensor | None


def draw_controls(work: Workshop) -> Controls:
    """Both controls at the backbone's image size. Raises UserError where the scene has no proxy."""
    proxy, settings = work.scene.proxy, work.settings
    if proxy is None:
        raise UserError(
            f"{settings.scene.path} has no proxy.json, which describes the edit: write one, or give it with scene.proxy=…"
        )
    how = (work.scene.cameras, settings.control.detail, work.backbone.image_size)
    source, target = draw_proxy_control(proxy, "source", *how), draw_proxy_control(proxy, "target", *how)
    region = edited_region(proxy, work.scene.cameras, work.backbone.latent_size, settings.control.margin)
    depth = None
    if settings.field.depth_weight > 0:
        depth = bounds_distance(proxy, "target", work.scene.cameras, work.backbone.image_size).to(work.device)
    return Controls(source.to(work.device), target.to(work.device), region.to(work.device), depth)


def encode(work: Workshop, images: Tensor) -> Tensor:
    """Latents (N, 4, h, w) of images (N, 3, H, W), chunk by chunk, on the device."""
    return _by_chunk(work, "encode", work.backbone.encode, images)


def decode(work: Workshop, latents: Tensor) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] of latents (N, 4, h, w), chunk by chunk, on the device."""
    return _by_chunk(work, "decode", work.backbone.decode, latents)


@torch.no_grad()
def _by_chunk(work: Workshop, kind: str, function: Callable[[Tensor], Tensor], views: Tensor) -> Tensor:
    parts = []
    for chunk in chunks(len(views), work.settings.chunk_size):
        parts.append(function(views[chunk].to(work.device)))
        work.progress.advance(kind, chunk.stop - chunk.start)
    return torch.cat(parts)
