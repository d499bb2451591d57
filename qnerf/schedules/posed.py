"""The posed views themselves: the source's radiance field, posed and rendered, without the diffusion model (ours,
docs/method.md §7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qnerf.guidance.guidance import GuidanceSettings
from qnerf.schedules.schedule import Schedule, ScheduleSettings, Work

if TYPE_CHECKING:
    from qnerf.attention.layers import AttentionLayer
    from qnerf.consolidation.checkpoint import Checkpoints
    from qnerf.consolidation.job import EditJob
    from qnerf.consolidation.result import EditResult
    from qnerf.guidance.guidance import Guidance


class PosedSettings(ScheduleSettings):
    """The model is not run, and its autoencoder leaves no mark on the pictures."""

    name: Literal["posed"]

    @property
    def edits(self) -> bool:
        return False

    @property
    def reads_posed(self) -> bool:
        return True

    def work(self, guidance: GuidanceSettings, steps: int, views: int) -> Work:
        return {"unet": 0.0}

    def build(self) -> Schedule:
        return PosedSchedule(self)


class PosedSchedule(Schedule):
    def edit(self, guidance: Guidance, layers: tuple[AttentionLayer, ...], job: EditJob, checkpoints: Checkpoints) -> EditResult:
        import torch

        from qnerf.consolidation.result import EditResult

        images = job.needed_posed().images
        latents = [job.backbone.encode(images[views].to(job.device)).to(images.device) for views in job.chunks()]
        return EditResult(torch.cat(latents), images=images)
