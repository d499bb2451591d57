"""The depth of the source views, as the radiance field of the scene expects it: what depth ControlNets are drawn from."""

from __future__ import annotations

import torch
from torch import Tensor

from qnerf.config import RunSettings
from qnerf.devices import HOST
from qnerf.runs.posing import source_field
from qnerf.runs.work import Workshop
from qnerf.scenes.scene import Scene
from qnerf.store.entry import Artefact


def source_depth(settings: RunSettings, scene: Scene, size: tuple[int, int], work: Workshop) -> Tensor:
    """(N, H, W) distance along each pixel's ray, world units, in the host's memory. size: (height, width)."""
    height, width = size

    def compute() -> Artefact:
        _, depth = source_field(settings, scene, work).render(scene.cameras.resized(width, height))
        return Artefact({"depth": depth.to(HOST)})

    work.progress.enter("the depth of the source views, for the ControlNet")
    with work.progress.expecting({"source field": 1}):
        found = work.once(lambda stages: stages.source_depth(), compute).tensors["depth"]
    return torch.where(found > 0, found, torch.inf)
