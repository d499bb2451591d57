"""Every view is edited by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qnerf.schedules.schedule import Schedule, ScheduleSettings

if TYPE_CHECKING:
    from qnerf.attention.layers import AttentionLayer
    from qnerf.consolidation.checkpoint import Checkpoints
    from qnerf.consolidation.job import EditJob
    from qnerf.consolidation.result import EditResult
    from qnerf.guidance.guidance import Guidance


class IndependentSettings(ScheduleSettings):
    """No queries are recorded and no field is trained."""

    name: Literal["independent"]

    def build(self) -> Schedule:
        return Independent(self)


class Independent(Schedule):
    def edit(self, guidance: Guidance, layers: tuple[AttentionLayer, ...], job: EditJob, checkpoints: Checkpoints) -> EditResult:
        from qnerf.consolidation.phases import plain_steps
        from qnerf.consolidation.result import EditResult

        job.editor.restore({})
        return EditResult(plain_steps(job, job.trajectory.states[0], 0, len(job.steps))[0])
