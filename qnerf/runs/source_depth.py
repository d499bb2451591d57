"""The depth of the source views: the capture's own, and what the radiance field of the scene expects where that has none. Depth
ControlNets are drawn from it."""

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
    """(N, H, W) distance along each pixel's ray, world units, in the host's memory. size: (height, width), the views'."""
    height, width = size
    own = scene.depth if scene.depth is not None and tuple(scene.depth.shape[1:]) == size else None
    if own is not None and torch.isfinite(own).all():
        return own

    def compute() -> Artefact:
        where = None if own is None else ~torch.isfinite(own).to(scene.cameras.focal.device)
        _, depth = source_field(settings, scene, work).render(scene.cameras.resized(width, height), where)
        return Artefact({"depth": depth.to(HOST)})

    work.progress.enter("the depth of the source views, for the ControlNet")
    with work.progress.expecting({"source field": 1}):
        found = work.once(lambda stages: stages.source_depth(), compute).tensors["depth"]
    found = torch.where(found > 0, found, torch.inf)
    return found if own is None else torch.where(torch.isfinite(own), own, found)
