"""No edit: the source views through the autoencoder, what an editor that does nothing would score."""

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


class SourceSettings(ScheduleSettings):
    """The model is not run."""

    name: Literal["source"]

    @property
    def edits(self) -> bool:
        return False

    def work(self, guidance: GuidanceSettings, steps: int, views: int) -> Work:
        return {"unet": 0.0}

    def build(self) -> Schedule:
        return SourceViews(self)


class SourceViews(Schedule):
    def edit(self, guidance: Guidance, layers: tuple[AttentionLayer, ...], job: EditJob, checkpoints: Checkpoints) -> EditResult:
        from qnerf.consolidation.result import EditResult

        return EditResult(job.trajectory.states[-1])
