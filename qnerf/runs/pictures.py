"""Between pictures and latents, all views chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.denoising.views import chunks
from qnerf.runs.progress import Progress


def encode(backbone: DiffusionBackbone, images: Tensor, chunk_size: int, progress: Progress) -> Tensor:
    """Latents (N, 4, h, w) of images (N, 3, H, W) in [0, 1], on the backbone's device."""
    return _by_chunk(backbone, "encode", backbone.encode, images, chunk_size, progress)


def decode(backbone: DiffusionBackbone, latents: Tensor, chunk_size: int, progress: Progress) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] of latents (N, 4, h, w), on the backbone's device."""
    return _by_chunk(backbone, "decode", backbone.decode, latents, chunk_size, progress)


@torch.no_grad()
def _by_chunk(
    backbone: DiffusionBackbone, kind: str, function: Callable[[Tensor], Tensor], views: Tensor, size: int, progress: Progress
) -> Tensor:
    parts = []
    for chunk in chunks(len(views), size):
        parts.append(function(views[chunk].to(backbone.device)))
        progress.advance(kind, chunk.stop - chunk.start)
    return torch.cat(parts)
