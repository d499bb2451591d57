"""The depth of the source views, which depth ControlNets are drawn from: the capture's own, or what the scene's radiance field
expects."""

from __future__ import annotations

import torch
from torch import Tensor

from qnerf.config import RunSettings
from qnerf.devices import HOST
from qnerf.runs.posing import source_field
from qnerf.runs.work import Workshop
from qnerf.scenes.capture_depth import capture_depth
from qnerf.scenes.scene import Scene
from qnerf.store.entry import Artefact


def source_depth(settings: RunSettings, scene: Scene, size: tuple[int, int], work: Workshop) -> Tensor:
    """(N, H, W) distance along each pixel's ray, world units, in the host's memory. size: (height, width)."""
    height, width = size

    def compute() -> Artefact:
        if scene.depths is not None:
            return Artefact({"depth": capture_depth(scene, size, settings.scene.crop)})
        _, depth = source_field(settings, scene, work).render(scene.cameras.resized(width, height))
        return Artefact({"depth": depth.to(HOST)})

    work.progress.enter("the depth of the source views, for the ControlNet")
    with work.progress.expecting({} if scene.depths else {"source field": 1}):
        found = work.once(lambda stages: stages.source_depth(), compute).tensors["depth"]
    return torch.where(found > 0, found, torch.inf)
