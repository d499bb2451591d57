"""The posed views: the source's radiance field, trained once for all that share it, posed by the
proxy and rendered."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from qnerf.common.finite import require_finite
from qnerf.config import RunSettings
from qnerf.consolidation.job import Posed
from qnerf.devices import HOST
from qnerf.errors import UserError
from qnerf.fields.posing.posed_views import PosedViews, pose_views
from qnerf.fields.source_field import SourceField, restored, train_source_field
from qnerf.fields.space import Space
from qnerf.runs.inverting import Inverted, invert_posed
from qnerf.runs.work import ALONE, Workshop
from qnerf.scenes.region import edited_region, moves
from qnerf.scenes.scene import Scene
from qnerf.store.entry import Artefact


def pose(settings: RunSettings, inverted: Inverted, follow: bool, work: Workshop = ALONE) -> Posed:
    """The scene after the edit as its source views show it. follow: whether the views are inverted, too.

    Raises UserError where the scene has no proxy, or where the views or their latents are not finite.
    """
    views = posed_views(settings, inverted.scene, work)
    trajectory, branch = invert_posed(inverted, views.images.to(inverted.backbone.device), work) if follow else (None, None)
    return Posed(views.images, views.trust * (1 - unknown_to_posing(inverted)), views.changed, views.moved, trajectory, branch)


def unknown_to_posing(inverted: Inverted) -> Tensor:
    """Where the posed views cannot know the edit, (N, H, W), 0 or 1: all of the object, where the
    proxy stands still and the prompts differ. The edit then is what the prompt changes, and the
    posed views are the source's."""
    scene, margin = inverted.scene, inverted.settings.control.margin
    size = (scene.cameras.height, scene.cameras.width)
    if scene.proxy is None or moves(scene.proxy) or scene.source_prompts == scene.target_prompts:
        return torch.zeros(len(scene.view_names), *size)
    return edited_region(scene.proxy, scene.cameras, size, margin, finer=1).object.to(HOST)


def posed_views(settings: RunSettings, scene: Scene, work: Workshop = ALONE) -> PosedViews:
    """The source's radiance field, posed by the proxy and rendered from every view; in the host's memory."""
    proxy = scene.proxy
    if proxy is None:
        raise UserError(f"{settings.scene.path} has no proxy.json, which says how the scene is posed; give one with scene.proxy=…")

    count, rendered = len(scene.view_names), 0

    def report(done: int, total: int) -> None:
        nonlocal rendered
        work.progress.advance("pose", count * (done - rendered) / total)
        rendered = done

    def compute() -> Artefact:
        field = source_field(settings, scene, work)
        views = pose_views(field, proxy, scene.cameras, scene.images, settings.posing, report)
        return Artefact({name.name: getattr(views, name.name).to(HOST) for name in fields(PosedViews)})

    work.progress.enter("posing the source views")
    with work.progress.expecting({"source field": 1, "pose": count}):
        found = work.once(lambda stages: stages.posed(), compute)
    views = PosedViews(**{name.name: found.tensors[name.name] for name in fields(PosedViews)})
    require_finite(views.images, "posing the source views: pictures", scene.view_names)
    return views


def source_field(settings: RunSettings, scene: Scene, work: Workshop = ALONE) -> SourceField:
    """The radiance field of the source views, on the scene's device."""
    space = Space(scene.focus, scene.radius, scene.limits)

    def report(step: int, total: int, loss: float) -> None:
        work.progress.loss("source field", loss)
        work.progress.advance("source field", 1 / total)

    def compute() -> Artefact:
        field = train_source_field(
            scene.images,
            scene.cameras,
            space,
            settings.source_field,
            settings.seed,
            scene.proxy,
            scene.depth,
            scene.valid,
            report,
        )
        return Artefact({name: value.to(HOST) for name, value in field.state_dict().items()})

    found = work.once(lambda stages: stages.source_field(), compute)
    return restored(found.tensors, settings.source_field, space, scene.cameras.focal.device, scene.proxy)
