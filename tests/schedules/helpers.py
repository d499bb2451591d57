"""A small job on a random backbone: a ring of views, 8 x 8 latents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from qnerf.attention.layers import AttentionLayer
from qnerf.backbones.architecture import tiny_backbone
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.process import Steps
from qnerf.consolidation.checkpoint import Checkpoints, NoCheckpoints
from qnerf.consolidation.job import EditJob
from qnerf.consolidation.result import EditResult
from qnerf.denoising.ddim import Trajectory
from qnerf.denoising.source import SourceBranch
from qnerf.denoising.views import invert_views
from qnerf.editors.masactrl import MasaCtrlSettings
from qnerf.fields.settings import FieldSettings, RgbFieldSettings
from qnerf.fields.space import Space
from qnerf.guidance.guidance import GuidanceSettings
from qnerf.inversions.ddim import DdimInversionSettings
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.region import EditedRegion
from qnerf.scenes.scene import Scene
from qnerf.schedules.schedule import ScheduleSettings

BACKBONE = tiny_backbone()


def in_precision(dtype: torch.dtype) -> DiffusionBackbone:
    """The same backbone, computing in another dtype."""
    backbone = tiny_backbone()
    for net in (backbone.unet, *backbone.controlnets, backbone.vae, backbone.text_encoder):
        nn.Module.to(net, dtype)  # diffusers' own warns of modules that are to stay, of which there are none
    return backbone


TINY = {
    "grid": {"levels": 2, "log2_table_size": 10, "finest_resolution": 16},
    "sampling": {"coarse_samples": 8, "fine_samples": 4, "render_samples": 4},
    "optimiser": {"iterations": 4, "rays_per_batch": 64},
    "hidden_width": 8,
    "geometry_width": 8,
}


def tiny_field() -> FieldSettings:
    return FieldSettings.model_validate({**TINY, "render_rays_per_side": 1})


def make_job(
    steps: int = 6, chunk_size: int = 4, views: int = 4, backbone: DiffusionBackbone = BACKBONE, **changes: Any
) -> tuple[EditJob, Counter[str]]:
    """The job, and a counter of the work that it reports."""
    start = _inverted(backbone, steps, chunk_size, views)
    scene, editor = start.scene, changes.pop("editor", MasaCtrlSettings(name="masactrl"))
    work: Counter[str] = Counter()
    job = EditJob(
        backbone=backbone, steps=start.schedule, trajectory=deepcopy(start.trajectory), source=start.source,
        target=Conditioning.of(start.text, start.controls[1]),
        region=changes.pop("region", EditedRegion(torch.ones(views, 8, 8), torch.ones(views, 8, 8))),
        editor=editor.build(), guidance_scale=editor.guidance_scale or 1.0, cameras=scene.cameras,
        space=Space(scene.focus, scene.radius), field=changes.pop("field", tiny_field()),
        rgb_field=RgbFieldSettings.model_validate(TINY), seed=0, chunk_size=chunk_size,
        on_work=lambda kind, amount: work.update({kind: amount}), **changes,
    )  # fmt: skip
    return job, work


@dataclass(frozen=True)
class Start:
    """What an edit begins with."""

    scene: Scene
    text: Tensor
    controls: Tensor
    schedule: Steps
    source: Callable[[slice], SourceBranch]
    trajectory: Trajectory


@cache
def _inverted(backbone: DiffusionBackbone, steps: int, chunk_size: int, views: int) -> Start:
    """The same for all edits of so many steps and views, which are hundreds: inverted once."""
    scene = build_scene(0, views=views, size=32)
    controls = torch.rand(2, views, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    text, null = backbone.embed(["a figure"] * views), backbone.embed([""] * views)
    inversion, schedule = DdimInversionSettings(name="ddim"), backbone.process.steps(steps)

    def source(some: slice) -> SourceBranch:
        return SourceBranch(backbone, schedule, inversion.build(), Conditioning.of(text[some], controls[0, some]), null[some])

    trajectory = invert_views(source, backbone.encode(scene.images), chunk_size, lambda done: None)
    return Start(scene, text, controls, schedule, source, trajectory)


def layers(*indices: int) -> tuple[AttentionLayer, ...]:
    return tuple(BACKBONE.layers[index] for index in indices)


def edit(
    schedule: ScheduleSettings, guidance: GuidanceSettings, job: EditJob, checkpoints: Checkpoints | None = None
) -> EditResult:
    """The job by a schedule and a guidance, with the queries of two layers."""
    return schedule.build().edit(guidance.build(), layers(10, 13), job, checkpoints or NoCheckpoints())
