"""The oracle: guided by the queries of the true edited views, what better queries could give (docs/method.md
§6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qnerf.errors import UserError
from qnerf.guidance.guidance import GuidanceSettings
from qnerf.schedules.schedule import Schedule, SkippingSettings, Work

if TYPE_CHECKING:
    from qnerf.attention.layers import AttentionLayer
    from qnerf.consolidation.checkpoint import Checkpoints
    from qnerf.consolidation.job import EditJob
    from qnerf.consolidation.result import EditResult
    from qnerf.guidance.guidance import Guidance


class OracleSettings(SkippingSettings):
    """Queries of the true edited views, from their own inversion, at every step. Needs a scene with
    truth."""

    name: Literal["oracle"]

    @property
    def consolidates(self) -> bool:
        return True

    @property
    def reads_truth(self) -> bool:
        return True

    def work(self, guidance: GuidanceSettings, steps: int, views: int) -> Work:
        walk = range(self.first_state(steps), steps)
        return {"unet": views * sum(guidance.guides(k, steps) + guidance.step_passes(k, steps) for k in walk)}

    def build(self) -> Schedule:
        return Oracle(self)


class Oracle(Schedule):
    settings: OracleSettings

    def edit(self, guidance: Guidance, layers: tuple[AttentionLayer, ...], job: EditJob, checkpoints: Checkpoints) -> EditResult:
        """Guided at each step, as long as guidance lasts, by the true edited views' queries of that
        step."""
        from qnerf.consolidation.along import queries_along
        from qnerf.consolidation.phases import guided_steps
        from qnerf.consolidation.result import EditResult

        if job.oracle is None:
            raise UserError(
                "schedule is 'oracle', but the scene folder has no true edited views (truth/), which it "
                "needs: use a procedural scene or another schedule."
            )
        job.editor.restore({})
        steps = len(job.steps)
        first = self.settings.first_state(steps)
        z = job.first_latents("source", first)
        for k in range(first, steps):
            target = queries_along(job, job.oracle, layers, k) if guidance.settings.guides(k, steps) else None
            z = guided_steps(job, guidance, z, k, k + 1, target)
        return EditResult(z)
