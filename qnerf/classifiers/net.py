"""The classifiers' network: one encoder and decoder of plain convolutions, and four heads.

A part's colour is read where the network sees the part: features are averaged with the weights of its own part map, and one
small head, the same for all parts, names the colour in the light of floor and background. So each picture has five lessons
for it, and a thin lamp's arm is not drowned by what lies round it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qnerf.classifiers.labels import BACKGROUND, FLOOR, NAMES, OTHER, PARTS, UNSURE, allowed_names
from qnerf.scenes.procedural.world import KINDS

WIDTHS = (16, 32, 48, 64, 96)


@dataclass(frozen=True)
class Opinion:
    """Logits for B pictures of side S. kinds: (B, kinds). parts: (B, parts + 1, S/2, S/2), the last for what has no name.
    silhouettes: (B, S, S). names: (B, parts, names), -inf where a part cannot bear the name. features: (B, F)."""

    kinds: Tensor
    parts: Tensor
    silhouettes: Tensor
    names: Tensor
    features: Tensor


class ClassifierNet(nn.Module):
    """widths: channels at the image's half (twice), quarter, eighth and sixteenth. The side must be a multiple of 16."""

    allowed: Tensor

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        stem, half, quarter, eighth, top = widths
        self.widths = widths
        self.down = nn.ModuleList([
            nn.Sequential(_block(3, stem, 2), _block(stem, half)),
            nn.Sequential(_block(half, quarter, 2), _block(quarter, quarter)),
            nn.Sequential(_block(quarter, eighth, 2), _block(eighth, eighth)),
            nn.Sequential(_block(eighth, top, 2), _block(top, top)),
        ])  # fmt: skip
        levels = ((top, eighth), (eighth, quarter), (quarter, half))
        self.across = nn.ModuleList([nn.Conv2d(low, high, 1) for low, high in levels])
        self.up = nn.ModuleList([_block(high, high) for _, high in levels])
        self.part = nn.Conv2d(half, OTHER + 1, 1)
        self.silhouette = nn.Conv2d(half, 4, 3, padding=1)
        self.paint = nn.Conv2d(2 * half + 3, top, 1)
        self.name = nn.Sequential(nn.Linear(4 * top + len(PARTS), top), nn.ReLU(), nn.Linear(top, len(NAMES)))
        self.kind = nn.Linear(2 * top, len(KINDS))
        self.register_buffer("allowed", allowed_names(), persistent=False)

    @property
    def num_features(self) -> int:
        return self.widths[-1]

    def forward(self, images: Tensor, hints: Tensor | None = None) -> Opinion:
        """images: (B, 3, S, S) in [0, 1]. hints: in training, true part maps (B, S, S) by which colours are read in place of the
        network's own maps; a row that is `UNSURE` all over has none."""
        levels: list[Tensor] = []
        x = 2 * images - 1
        for down in self.down:
            x = down(x)
            levels.append(x)
        features = x.float().mean(dim=(2, 3))
        kinds = self.kind(torch.cat([features, x.float().amax(dim=(2, 3))], dim=1))
        for across, up, skip in zip(self.across, self.up, levels[-2::-1], strict=True):
            x = up(skip + F.interpolate(across(x), scale_factor=2))
        parts = self.part(x).float()
        paint = F.relu(self.paint(torch.cat([x, levels[0], F.avg_pool2d(images, 2).to(x.dtype)], dim=1))).float()
        names = self._name_colours(_weights(parts, hints), paint, features)
        return Opinion(kinds.float(), parts, F.pixel_shuffle(self.silhouette(x), 2)[:, 0].float(), names, features)

    def _name_colours(self, weights: Tensor, paint: Tensor, features: Tensor) -> Tensor:
        weights = weights.flatten(2)
        pooled = weights @ paint.flatten(2).transpose(1, 2) / (weights.sum(dim=2, keepdim=True) + 1e-3)
        count = len(PARTS)
        around = [pooled[:, [part]].expand(-1, count, -1) for part in (FLOOR, BACKGROUND)]
        which = torch.eye(count, device=paint.device).expand(len(paint), -1, -1)
        asked = torch.cat([pooled, *around, features[:, None].expand(-1, count, -1), which], dim=2)
        return self.name(asked).float().masked_fill(~self.allowed, float("-inf"))


def _weights(parts: Tensor, hints: Tensor | None) -> Tensor:
    """(B, parts, S/2, S/2): how much each place shows each part."""
    own = parts.softmax(dim=1)[:, :OTHER]
    if hints is None:
        return own
    true = F.avg_pool2d((hints[:, None] == torch.arange(OTHER, device=hints.device)[:, None, None]).float(), 2)
    return torch.where((hints != UNSURE).flatten(1).any(dim=1)[:, None, None, None], true, own)


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
