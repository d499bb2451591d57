"""The costly part: pictures that the backbone generates. They are planned first, and stored chunk by chunk.

A job's chunk is an artefact of the store under all that can change it, so an evaluation that was broken off goes on where
it was, and groups share what both need.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.common.hashes import digest
from qnerf.common.sources import code_version
from qnerf.denoising.combination import guided_noise
from qnerf.denoising.ddim import NoisePredictor, denoise
from qnerf.denoising.source import SourceBranch
from qnerf.evaluate_backbone.settings import EvaluateSettings
from qnerf.evaluate_backbone.views import Views
from qnerf.inversions.inversion import InversionSettings
from qnerf.runs.progress import RunProgress
from qnerf.scenes.settings import Detail
from qnerf.store.entry import Artefact
from qnerf.store.key import Key
from qnerf.store.store import Store
from qnerf.variants import variants

PASSES = "passes"  # the unit of progress: one view once through the U-Net


@dataclass(frozen=True)
class Job:
    """Pictures of the first `views` views. generate: from noise, caption and control. reconstruct: by inversion and back, with
    the same caption, control and γ. detail: grade of the control. guidance: γ. null_control: whether its null half sees the control
    too (Zhang et al., "Adding conditional control to text-to-image diffusion models", ICCV 2023, section 3.4, describes both): it
    does in reconstruction."""

    task: Literal["generate", "reconstruct"]
    detail: Detail
    guidance: float
    views: int
    null_control: bool = True

    def passes(self, steps: int) -> int:
        """How often a view goes through the U-Net; γ = 1 needs no null prompt."""
        return steps * (1 if self.guidance == 1 else 2) * (2 if self.task == "reconstruct" else 1)


@dataclass(frozen=True)
class Painter:
    """Does jobs on `views`, once."""

    backbone: DiffusionBackbone
    views: Views
    settings: EvaluateSettings
    store: Store
    progress: RunProgress

    def plan(self, jobs: Iterable[Job]) -> float:
        """Passes that the jobs still need; chunks that two of them share, or that are kept, count once or not at all."""
        chunks = {(self._key(job, some), job, some) for job in jobs for some in self._chunks(job)}
        missing = {key: len(some) * job.passes(self.settings.steps) for key, job, some in chunks if not self.store.has(key)}
        return float(sum(missing.values()))

    def paint(self, job: Job) -> Tensor:
        """(job.views, 3, H, W) in [0, 1], rounded to bytes."""
        return torch.cat([self._chunk(job, some) for some in self._chunks(job)])

    def round_trip(self, count: int) -> Tensor:
        """The autoencoder's reconstructions of the first true views: the best that any of its pictures can be."""
        images = self.views.images[:count]
        return torch.cat(
            [self.backbone.decode(self.backbone.encode(some)).cpu() for some in images.split(self.settings.chunk_size)]
        )

    def _chunks(self, job: Job) -> Iterator[range]:
        for first in range(0, job.views, self.settings.chunk_size):
            yield range(first, min(first + self.settings.chunk_size, job.views))

    def _key(self, job: Job, some: range) -> Key:
        s = self.settings
        what = [job.task, job.detail, job.guidance, job.null_control, some.start, some.stop, s.steps, s.control_scale]
        scenes = [s.world, list(s.kinds or ()), s.seed]
        return Key("evaluate_backbone", digest([what, scenes, self.backbone.revision, s.backbone.dtype, code_version(__name__)]))

    def _chunk(self, job: Job, some: range) -> Tensor:
        def compute() -> Artefact:
            views = self.views[some.start : some.stop]
            paint = generate if job.task == "generate" else reconstruct
            images = paint(self.backbone.for_control(job.detail), views, job, self.settings)
            self.progress.advance(PASSES, len(some) * job.passes(self.settings.steps))
            return Artefact(tensors={"images": (images.cpu() * 255).round().byte()})

        return self.store.once(self._key(job, some), compute).tensors["images"].float() / 255


def generate(backbone: DiffusionBackbone, views: Views, job: Job, settings: EvaluateSettings) -> Tensor:
    """DDIM from each view's own noise: images (N, 3, H, W)."""
    shape = (backbone.latent_channels, *backbone.latent_size)
    noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in views.seeds])
    eps = guided_predictor(backbone, views, job, settings)
    return backbone.decode(denoise(eps, noise.to(backbone.device), backbone.process.steps(settings.steps)))


def guided_predictor(backbone: DiffusionBackbone, views: Views, job: Job, settings: EvaluateSettings) -> NoisePredictor:
    """ε = ε_∅ + γ (ε_c − ε_∅) (Ho and Salimans, "Classifier-free diffusion guidance", 2022), the control in ε_c and, if the job
    says so, in ε_∅."""
    times = backbone.process.timesteps(settings.steps)
    text, null = backbone.embed(list(views.captions)), backbone.embed([""]).expand(len(views), -1, -1)
    control = views.controls[job.detail].to(backbone.device)
    full_condition = Conditioning.of(text, control, settings.control_scale)
    null_condition = Conditioning.of(null, control if job.null_control else None, settings.control_scale)

    @torch.no_grad()
    def eps(z: Tensor, k: int) -> Tensor:
        full = backbone.predict(z, times[k], full_condition)
        if job.guidance == 1:
            return full
        without = backbone.predict(z, times[k], null_condition)
        return guided_noise(without, full, job.guidance)

    return eps


def reconstruct(backbone: DiffusionBackbone, views: Views, job: Job, settings: EvaluateSettings) -> Tensor:
    """DDIM inversion of the true views at γ, and back at γ: images (N, 3, H, W)."""
    inversion = cast(type[InversionSettings], variants("inversions")["ddim"]).model_validate(
        {"name": "ddim", "guidance_scale": job.guidance}
    )
    branch = SourceBranch(
        backbone=backbone,
        steps=backbone.process.steps(settings.steps),
        inversion=inversion.build(),
        conditioning=Conditioning.of(
            backbone.embed(list(views.captions)), views.controls[job.detail].to(backbone.device), settings.control_scale
        ),
        null_text=backbone.embed([""]).expand(len(views), -1, -1),
    )
    return backbone.decode(branch.reconstruct(branch.invert(backbone.encode(views.images.to(backbone.device)))))
