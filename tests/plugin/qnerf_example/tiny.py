"""Tiny: a random model of Stable Diffusion 1.5's topology, of 32 pixels, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qnerf.backbones.backbone import GIB, BackboneSettings, PassCosts

if TYPE_CHECKING:
    import torch

    from qnerf.backbones.diffusion import DiffusionBackbone


class TinySettings(BackboneSettings):
    name: Literal["tiny"]
    seed: int = 0

    @property
    def downsampling(self) -> int:
        return 4

    def pixels(self) -> int:
        return 32

    def weights(self) -> Sequence[Path]:
        return []

    def costs(self, width: int, height: int, device: str = "cpu") -> PassCosts:
        return PassCosts(slowness=0.1, process=0.5 * GIB, view=0, keys=0)

    def build(self, device: torch.device | str = "cpu") -> DiffusionBackbone:
        from qnerf.backbones.architecture import tiny_backbone

        return tiny_backbone(self.seed)
