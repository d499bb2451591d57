"""The result of a schedule."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from qnerf.consolidation.consolidate import IntervalRecord


@dataclass(frozen=True)
class EditResult:
    """latents: (N, 4, h, w), clean. intervals: a record of each field that was trained. images: (N, 3, H, W) in [0, 1], of a
    method whose views are not decoded latents."""

    latents: Tensor
    intervals: list[IntervalRecord] = field(default_factory=list)
    images: Tensor | None = None
