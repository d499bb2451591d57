"""Every view is edited by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qnerf.guidance.guidance import GuidanceSettings
from qnerf.schedules.schedule import Schedule, StartingSettings, Work

if TYPE_CHECKING:
    from qnerf.attention.layers import AttentionLayer
    from qnerf.consolidation.checkpoint import Checkpoints
    from qnerf.consolidation.job import EditJob
    from qnerf.consolidation.result import EditResult
    from qnerf.guidance.guidance import Guidance


class IndependentSettings(StartingSettings):
    """No queries are recorded and no field is trained."""

    name: Literal["independent"]

    def work(self, guidance: GuidanceSettings, steps: int, views: int) -> Work:
        return {"unet": self.start_passes(steps) + (steps - self.first_state(steps)) * views}

    def build(self) -> Schedule:
        return Independent(self)


class Independent(Schedule):
    settings: IndependentSettings

    def edit(self, guidance: Guidance, layers: tuple[AttentionLayer, ...], job: EditJob, checkpoints: Checkpoints) -> EditResult:
        from qnerf.consolidation.phases import plain_steps
        from qnerf.consolidation.result import EditResult

        job.editor.restore({})
        first = self.settings.first_state(len(job.steps))
        return EditResult(plain_steps(job, job.first_latents(self.settings.start, first), first, len(job.steps))[0])
