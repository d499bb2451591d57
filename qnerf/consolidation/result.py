"""The result of a schedule."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from qnerf.consolidation.consolidate import IntervalRecord


@dataclass(frozen=True)
class EditResult:
    """latents: (N, 4, h, w), clean. intervals: a record of each field that was trained."""

    latents: Tensor
    intervals: list[IntervalRecord] = field(default_factory=list)
