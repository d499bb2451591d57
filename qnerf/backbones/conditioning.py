"""What a prediction is conditioned on: a text, and any number of drawings, each read by a
ControlNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qnerf.backbones.backbone import acts_in


@dataclass(frozen=True)
class Control:
    """drawing: (V, 3, H, W) in [0, 1]. scale: of the net's residuals. start, stop: the share of the
    denoising steps in which it acts (`acts_in`). net: which of the backbone's ControlNets reads it."""

    drawing: Tensor
    scale: float = 1.0
    start: float = 0.0
    stop: float = 1.0
    net: int = 0


@dataclass(frozen=True)
class Conditioning:
    """Of V views. text: states of the prompt (V, L, C). controls: none leaves the ControlNets out.
    pooled: (V, C), the prompt as one vector, for models that take it too."""

    text: Tensor
    controls: tuple[Control, ...] = ()
    pooled: Tensor | None = None

    @staticmethod
    def of(text: Tensor, drawing: Tensor | None = None, scale: float = 1.0) -> Conditioning:
        """A text and at most one drawing."""
        return Conditioning(text, () if drawing is None else (Control(drawing, scale),))

    def __len__(self) -> int:
        return len(self.text)

    def views(self, views: slice) -> Conditioning:
        controls = tuple(replace(control, drawing=control.drawing[views]) for control in self.controls)
        return Conditioning(self.text[views], controls, None if self.pooled is None else self.pooled[views])

    def to(self, device: torch.device) -> Conditioning:
        controls = tuple(replace(control, drawing=control.drawing.to(device)) for control in self.controls)
        return Conditioning(self.text.to(device), controls, None if self.pooled is None else self.pooled.to(device))

    def at(self, k: int, steps: int) -> Conditioning:
        """What acts in step k of so many."""
        return replace(self, controls=tuple(c for c in self.controls if acts_in(k, steps, c.start, c.stop)))

    @staticmethod
    def joined(parts: Sequence[Conditioning]) -> Conditioning:
        """The rows of several, which differ in texts and drawings alone, one behind the other."""
        if len(parts) == 1:
            return parts[0]
        pooled = [part.pooled for part in parts if part.pooled is not None]
        controls = tuple(
            replace(same[0], drawing=torch.cat([control.drawing for control in same]))
            for same in zip(*(part.controls for part in parts), strict=True)
        )
        return Conditioning(torch.cat([part.text for part in parts]), controls, torch.cat(pooled) if pooled else None)
