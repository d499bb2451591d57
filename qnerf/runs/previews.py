"""Pictures of an edit while it works, for trackers: what its first views would become if it ended at a step."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.reports.strip import write_strip
from qnerf.trackers.tracker import Tracker

log = logging.getLogger(__name__)

VIEWS, PICTURES = 2, 6  # decoding them costs the demo 0.7 % of its time; with ten pictures tracking would cost 2.3 %


class Previews:
    """Decodes the clean latents that an edit implies, six times at equal distances. A picture that fails is told once, and the
    run goes on without. folder: of the pictures. steps: of an edit."""

    def __init__(self, folder: Path, backbone: DiffusionBackbone, tracker: Tracker, steps: int) -> None:
        self.folder, self.backbone, self.tracker = folder, backbone, tracker
        self.every = max(2, -(-steps // PICTURES))
        self.failed = False

    def __call__(self, method: str, latents: Tensor, k: int) -> None:
        """latents: (V, 4, h, w), of step k."""
        if self.failed or k % self.every:
            return
        try:
            with torch.no_grad():
                images = self.backbone.decode(latents[:VIEWS])
            path = write_strip(self.folder / f"{method}_preview{k:03d}.png", images)
        except Exception as error:  # such as a GPU without room for it
            self.failed = True
            log.warning("No previews of the edit: %s: %s", type(error).__name__, error)
            return
        self.tracker.image(f"{method}/preview", path, k)
