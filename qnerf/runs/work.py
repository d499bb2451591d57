"""What the stages of a run share, and the stages before the edit: controls, encoding, inversion, reconstruction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.config import RunSettings
from qnerf.editors.source_cache import SourceCache
from qnerf.errors import UserError
from qnerf.fields.space import Space
from qnerf.inversions.ddim import DdimSteps, Trajectory
from qnerf.inversions.invert import chunks, invert_views
from qnerf.inversions.source_branch import SourceBranch, ddim_steps
from qnerf.runs.folder import ArtefactStore, RunFolder
from qnerf.runs.identity import digest
from qnerf.runs.plan import invert_passes
from qnerf.runs.progress import RunProgress
from qnerf.scenes.controls import draw_proxy_control
from qnerf.scenes.region import edited_region
from qnerf.scenes.scene import Scene
from qnerf.schedules.job import EditJob
from qnerf.trackers.tracker import Tracker


@dataclass(frozen=True)
class Workshop:
    """One run's settings and tools. The scene's tensors lie on the device. cache: what runs of other settings can share."""

    settings: RunSettings
    scene: Scene
    backbone: DiffusionBackbone
    device: torch.device
    folder: RunFolder
    cache: ArtefactStore
    progress: RunProgress
    tracker: Tracker

    @property
    def steps(self) -> DdimSteps:
        """The run's denoising steps."""
        return ddim_steps(self.backbone, self.settings.inversion.steps)

    def text(self, prompt: str) -> Tensor:
        """The states of one prompt for every view, (N, L, C)."""
        return self.backbone.embed([prompt]).expand(len(self.scene.cameras), -1, -1)


@dataclass(frozen=True)
class Controls:
    """The proxy drawn into every view before and after the edit, each (N, 3, H, W) in [0, 1]; and where it is in either, (N, h, w)
    at the latents' size, 0 or 1."""

    source: Tensor
    target: Tensor
    region: Tensor


def draw_controls(work: Workshop) -> Controls:
    """Both controls at the backbone's image size. Raises UserError where the scene has no proxy."""
    proxy, settings = work.scene.proxy, work.settings
    if proxy is None:
        raise UserError(
            f"{settings.scene.path} has no proxy.json, which says what moves where: write one, or name it with scene.proxy=…"
        )
    how = (work.scene.cameras, settings.control.detail, work.backbone.image_size)
    source, target = draw_proxy_control(proxy, "source", *how), draw_proxy_control(proxy, "target", *how)
    region = edited_region(proxy, work.scene.cameras, work.backbone.latent_size, settings.control.margin)
    return Controls(source.to(work.device), target.to(work.device), region.to(work.device))


def encode(work: Workshop, images: Tensor) -> Tensor:
    """Latents (N, 4, h, w) of images (N, 3, H, W), chunk by chunk."""
    parts = []
    for views in chunks(len(images), work.settings.chunk_size):
        with torch.no_grad():
            parts.append(work.backbone.encode(images[views]))
        work.progress.advance("encode", views.stop - views.start)
    return torch.cat(parts)


def decode(work: Workshop, latents: Tensor) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] of latents (N, 4, h, w), chunk by chunk."""
    parts = []
    for views in chunks(len(latents), work.settings.chunk_size):
        with torch.no_grad():
            parts.append(work.backbone.decode(latents[views]))
        work.progress.advance("decode", views.stop - views.start)
    return torch.cat(parts)


def source_branch(work: Workshop, prompt: str, control: Tensor) -> Callable[[slice], SourceBranch]:
    """The inversion's predictor of some of the views, under a prompt and a control (N, 3, H, W)."""
    text, null_text = work.text(prompt), work.text("")
    settings = work.settings

    def branch(views: slice) -> SourceBranch:
        return SourceBranch(
            backbone=work.backbone,
            steps=work.steps,
            settings=settings.inversion,
            text=text[views],
            null_text=null_text[views],
            control=control[views],
            control_scale=settings.control.scale,
        )

    return branch


def invert(work: Workshop, key: str, branch: Callable[[slice], SourceBranch], images: Tensor) -> Trajectory:
    """The trajectory of images (N, 3, H, W), from the shared cache where an earlier run of the same key left it."""
    passes = invert_passes(work.settings) - work.settings.inversion.steps
    done = [0]

    def report(views: int) -> None:
        work.progress.advance("invert", passes * (views - done[0]))
        done[0] = views

    def compute() -> dict[str, Tensor]:
        trajectory = invert_views(branch, encode(work, images), work.settings.chunk_size, report)
        null = {} if trajectory.null_text is None else {"null_text": trajectory.null_text}
        return {"states": trajectory.states, **null}

    found = work.cache.tensors(f"trajectory-{key}", compute)
    if not done[0]:
        work.progress.skip("invert", passes * len(images))
        work.progress.skip("encode", len(images))
    on_device = {name: tensor.to(work.device) for name, tensor in found.items()}
    return Trajectory(on_device["states"], on_device.get("null_text"))


def inversion_key(settings: RunSettings, scene: str, revision: str, code: str, what: str) -> str:
    """What a cached trajectory depends on, hashed. scene, revision, code: fingerprints. what: "source" or "truth"."""
    parts = settings.model_dump(mode="json", include={"scene", "control", "inversion"})
    parts["scene"].pop("path")
    parts["control"].pop("margin")
    return digest([what, parts, scene, revision, code])


def reconstruct(work: Workshop, branch: Callable[[slice], SourceBranch], trajectory: Trajectory) -> Tensor:
    """Latents (N, 4, h, w) denoised from the noisiest state without any edit."""
    parts = []
    for views in chunks(trajectory.states.shape[1], work.settings.chunk_size):
        parts.append(branch(views).reconstruct(trajectory.views(views)))
        work.progress.advance("invert", work.settings.inversion.steps * (views.stop - views.start))
    return torch.cat(parts)


def make_job(
    work: Workshop,
    controls: Controls,
    branch: Callable[[slice], SourceBranch],
    trajectory: Trajectory,
    oracle: Trajectory | None,
) -> EditJob:
    """What all methods of the run edit."""
    settings, scene = work.settings, work.scene
    return EditJob(
        backbone=work.backbone,
        steps=work.steps,
        trajectory=trajectory,
        source=branch,
        text_target=work.text(scene.target_prompt),
        null_text=work.text(""),
        control_target=controls.target,
        control_scale=settings.control.scale,
        region=controls.region,
        editor=settings.editor,
        cameras=scene.cameras,
        space=Space(scene.focus, scene.radius),
        field=settings.field,
        seed=settings.seed,
        chunk_size=settings.chunk_size,
        oracle=oracle,
        on_work=work.progress.advance,
        source_cache=SourceCache(getattr(settings.editor, "source_cache_gib", 0.0)),
    )
