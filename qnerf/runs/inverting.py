"""The stage before the edit: source views are inverted to noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib import import_module

import torch
from torch import Tensor

from qnerf.backbones.conditioning import Conditioning, Control
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.common.finite import require_finite
from qnerf.config import RunSettings
from qnerf.denoising.ddim import Trajectory
from qnerf.denoising.source import SourceBranch
from qnerf.denoising.source_cache import SourceCache
from qnerf.denoising.views import invert_views
from qnerf.errors import UserError
from qnerf.runs.foreign import warn_of_example_proxy, warn_of_foreign_scene
from qnerf.runs.pictures import encode
from qnerf.runs.stages import Views
from qnerf.runs.work import ALONE, Workshop
from qnerf.scenes.drawings import Sources, draw
from qnerf.scenes.kept import change_mask
from qnerf.scenes.region import EditedRegion, edited_region, given_region
from qnerf.scenes.scene import Scene, State
from qnerf.scenes.shadow import find_light, shadow_region
from qnerf.store.entry import Artefact

Branch = Callable[[slice], SourceBranch]


@dataclass(frozen=True)
class Controls:
    """What each ControlNet sees of every view before and after the edit, drawings (N, 3, H, W) in [0, 1], none for images without
    cameras; and where the edit may be, at the latents' size."""

    source: tuple[Control, ...]
    target: tuple[Control, ...]
    region: EditedRegion


@dataclass(frozen=True)
class Inverted:
    """The views of a scene, inverted: what every edit of them starts from.

    settings, scene, backbone: those it was made with. controls: the drawings of the proxy. trajectory: the latents of N views at
    T + 1 states, `states` (T + 1, N, 4, h, w) float32 in the host's memory, state 0 the noisiest and state T the clean one; and
    `null_text` (T, N, L, C), where the inversion optimised it. seconds: what the inversion took. branch: the source branch's
    noise predictor of a slice of the views. source_cache: what edits by `settings.editor` have read of the source branch.
    """

    settings: RunSettings = field(repr=False)
    scene: Scene = field(repr=False)
    backbone: DiffusionBackbone = field(repr=False)
    controls: Controls = field(repr=False)
    trajectory: Trajectory = field(repr=False)
    seconds: float
    branch: Branch = field(repr=False)
    source_cache: SourceCache = field(repr=False)

    @property
    def view_names(self) -> tuple[str, ...]:
        """Of the N views, in the order of the trajectory."""
        return self.scene.view_names

    @property
    def latents(self) -> Tensor:
        """The clean latents (N, 4, h, w) float32 of the encoded views, in the host's memory."""
        return self.trajectory.states[-1]

    @cached_property
    def change_mask(self) -> Tensor:
        """(N, H, W) in [0, 1]: how far each pixel may change; where it is 0, kept pixels are the source's. By the proxy alone."""
        return change_mask(self.scene, self.settings.control.margin)


def invert(settings: RunSettings, scene: Scene, backbone: DiffusionBackbone, work: Workshop = ALONE) -> Inverted:
    """All views of the scene encoded and taken back to noise by `settings.inversion`, in `settings.steps` steps.

    scene, backbone: from `load_scene` and `load_backbone` with the same settings. work: a run's store and progress; by default
    nothing is kept. Raises UserError where the scene has no proxy, or where latents are not finite.
    """
    warn_of_foreign_scene(settings, scene, backbone)
    warn_of_example_proxy(settings)
    controls = draw_controls(settings, scene, backbone, work)
    work.progress.enter("inverting the views")
    branch = source_branch(settings, scene, backbone, scene.source_prompts, controls.source)
    trajectory, seconds = _invert(settings, scene, backbone, branch, scene.images, "source", work)
    cache = SourceCache(settings.editor.cache_gib)
    return Inverted(settings, scene, backbone, controls, trajectory, seconds, branch, cache)


def invert_truth(inverted: Inverted, work: Workshop = ALONE) -> Trajectory:
    """The trajectory of the true edited views under the target's prompt and control, for the oracle. Raises UserError where the
    scene has no truth."""
    settings, scene, backbone = inverted.settings, inverted.scene, inverted.backbone
    if scene.truth is None:
        raise UserError(f"{settings.scene.path} has no true edited views (truth/), which the oracle needs; edit by another method")
    work.progress.enter("inverting the true edited views, for the oracle")
    branch = source_branch(settings, scene, backbone, scene.target_prompts, inverted.controls.target)
    return _invert(settings, scene, backbone, branch, scene.truth.edited_images, "truth", work)[0]


def invert_posed(inverted: Inverted, images: Tensor, work: Workshop = ALONE) -> tuple[Trajectory, Branch]:
    """The trajectory of the posed views (N, 3, H, W) under the target's prompt and control, and its noise predictor."""
    settings, scene, backbone = inverted.settings, inverted.scene, inverted.backbone
    work.progress.enter("inverting the posed views")
    branch = source_branch(settings, scene, backbone, scene.target_prompts, inverted.controls.target)
    return _invert(settings, scene, backbone, branch, images, "posed", work)[0], branch


def draw_controls(settings: RunSettings, scene: Scene, backbone: DiffusionBackbone, work: Workshop = ALONE) -> Controls:
    """The controls at the backbone's image size. Raises UserError where a scene with cameras has no proxy, or it cannot be drawn
    so."""
    proxy, device = scene.proxy, backbone.device
    if not scene.posed:
        return Controls((), (), given_region(scene.masks, len(scene.cameras), backbone.latent_size).to(device))
    if proxy is None:
        raise UserError(
            f"{settings.scene.path} has no proxy.json, which describes the edit: write one, or give it with scene.proxy=…"
        )
    size, drawn = backbone.image_size, ([], [])

    @cache
    def depth() -> Tensor:
        # By name: an inversion depends on the code of fields only where its key says so (`Stages.inversion`).
        return import_module("qnerf.runs.source_depth").source_depth(settings, scene, size, work)

    for number, net in enumerate(settings.net_controls()):
        folders: tuple[tuple[State, str | None], ...] = (("source", net.source_images), ("target", net.target_images))
        for (state, images), found in zip(folders, drawn, strict=True):
            drawing = draw(scene, proxy, state, net.drawing, size, Sources(images, net.key, depth)).to(device)
            found.append(Control(drawing, net.scale, net.start, net.stop, number))
    cells = (scene.cameras, backbone.latent_size, settings.control.margin)
    region = edited_region(proxy, *cells)
    if settings.control.shadow:
        zero = scene.world.zero
        light = find_light(proxy, scene.images, scene.cameras, settings.control.margin, zero)
        region = replace(region, shadow=shadow_region(proxy, *cells, light, zero=zero))
    return Controls(tuple(drawn[0]), tuple(drawn[1]), region.to(device))


def source_branch(
    settings: RunSettings, scene: Scene, backbone: DiffusionBackbone, prompts: Sequence[str], controls: tuple[Control, ...]
) -> Branch:
    """The inversion's predictor of some of the views, under their N prompts and controls of all of them."""
    null_text = text_of(backbone, [""] * len(prompts))
    negative = text_of(backbone, [settings.negative_prompt] * len(prompts)) if settings.negative_prompt else None
    inversion = settings.inversion.build()
    conditioning = Conditioning(text_of(backbone, prompts), controls)
    steps = backbone.process.steps(settings.steps)

    def branch(views: slice) -> SourceBranch:
        return SourceBranch(
            backbone=backbone,
            steps=steps,
            inversion=inversion,
            conditioning=conditioning.views(views),
            null_text=null_text[views],
            view_names=scene.view_names[views],
            first_view=views.start,
            negative=None if negative is None else negative[views],
        )

    return branch


def text_of(backbone: DiffusionBackbone, prompts: Sequence[str]) -> Tensor:
    """The states of each view's prompt, (N, L, C). One prompt of all is in memory once."""
    found = {prompt: backbone.embed([prompt]) for prompt in dict.fromkeys(prompts)}
    if len(found) == 1:
        return found[prompts[0]].expand(len(prompts), -1, -1)
    return torch.cat([found[prompt] for prompt in prompts])


def _invert(
    settings: RunSettings,
    scene: Scene,
    backbone: DiffusionBackbone,
    branch: Branch,
    images: Tensor,
    views: Views,
    work: Workshop,
) -> tuple[Trajectory, float]:
    """The trajectory of images (N, 3, H, W), in the host's memory, and the seconds that it took."""
    passes, done = settings.inversion.passes(settings.steps), 0

    def report(count: int) -> None:
        nonlocal done
        work.progress.advance("invert", passes * (count - done))
        done = count

    def compute() -> Artefact:
        clean = encode(backbone, images, settings.chunk_size, work.progress)
        require_finite(clean, "encoding the views: latents", scene.view_names, dtype=backbone.dtype)
        return Artefact(invert_views(branch, clean, settings.chunk_size, report).tensors())

    with work.progress.expecting({"invert": passes * len(images), "encode": len(images)}):
        found = work.once(lambda stages: stages.inversion(views), compute)
    return Trajectory(**found.tensors), found.seconds
