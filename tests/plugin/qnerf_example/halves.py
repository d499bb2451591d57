"""Halves: every view by itself, in two stretches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qnerf.schedules.schedule import Schedule, ScheduleSettings

if TYPE_CHECKING:
    from qnerf.attention.layers import AttentionLayer
    from qnerf.consolidation.checkpoint import Checkpoints
    from qnerf.consolidation.job import EditJob
    from qnerf.consolidation.result import EditResult
    from qnerf.guidance.guidance import Guidance


class HalvesSettings(ScheduleSettings):
    name: Literal["halves"]

    def build(self) -> Halves:
        return Halves(self)


class Halves(Schedule):
    def edit(self, guidance: Guidance, layers: tuple[AttentionLayer, ...], job: EditJob, checkpoints: Checkpoints) -> EditResult:
        from qnerf.consolidation.phases import plain_steps
        from qnerf.consolidation.result import EditResult

        job.editor.restore({})
        z, half = job.trajectory.states[0], len(job.steps) // 2
        for start, stop in ((0, half), (half, len(job.steps))):
            z, _ = plain_steps(job, z, start, stop)
        return EditResult(z)
