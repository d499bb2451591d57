"""The oracle: guided by the queries of the true edited views, what better queries could give (docs/method.md
§6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qnerf.errors import UserError
from qnerf.guidance.guidance import GuidanceSettings
from qnerf.schedules.schedule import Schedule, ScheduleSettings, Work

if TYPE_CHECKING:
    from qnerf.attention.layers import AttentionLayer
    from qnerf.consolidation.checkpoint import Checkpoints
    from qnerf.consolidation.job import EditJob
    from qnerf.consolidation.result import EditResult
    from qnerf.consolidation.targets import TargetQueries
    from qnerf.denoising.ddim import Trajectory
    from qnerf.guidance.guidance import Guidance


class OracleSettings(ScheduleSettings):
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
        return {"unet": views * sum(guidance.guides(k, steps) + guidance.step_passes(k, steps) for k in range(steps))}

    def build(self) -> Schedule:
        return Oracle(self)


class Oracle(Schedule):
    def edit(self, guidance: Guidance, layers: tuple[AttentionLayer, ...], job: EditJob, checkpoints: Checkpoints) -> EditResult:
        """Guided at each step, as long as guidance lasts, by the true edited views' queries of that
        step."""
        from qnerf.consolidation.phases import guided_steps
        from qnerf.consolidation.result import EditResult

        if job.oracle is None:
            raise UserError(
                "schedule is 'oracle', but the scene folder has no true edited views (truth/), which it "
                "needs: use a procedural scene or another schedule."
            )
        job.editor.restore({})
        z, steps = job.trajectory.states[0], len(job.steps)
        for k in range(steps):
            target = oracle_queries(job, job.oracle, layers, k) if guidance.settings.guides(k, steps) else None
            z = guided_steps(job, guidance, z, k, k + 1, target)
        return EditResult(z)


def oracle_queries(job: EditJob, oracle: Trajectory, layers: tuple[AttentionLayer, ...], k: int) -> TargetQueries:
    """Queries of all views at step k along the inversion of the true edited views, under the target
    prompt and control."""
    import torch

    from qnerf.attention.edits import RecordQueries
    from qnerf.attention.hooks import CONDITIONAL, Batch, Edits
    from qnerf.consolidation.targets import TargetQueries

    parts: list[dict[AttentionLayer, torch.Tensor]] = []
    for views in job.chunks():
        record, count = RecordQueries(), views.stop - views.start
        with torch.no_grad(), job.backbone.bound(Edits.at(layers, record), Batch.of(k, [CONDITIONAL], count)):
            conditioning = job.target.views(views).at(k / len(job.steps))
            job.backbone.predict(oracle.states[k, views].to(job.device), job.steps.timesteps[k], conditioning)
        parts.append({layer: queries.to(oracle.states.device) for layer, queries in record.queries.items()})
        job.on_work("unet", count)
    maps = {layer: torch.cat([part[layer] for part in parts]) for layer in layers}
    whole = {layer: torch.eye(q.shape[-1], device=q.device) for layer, q in maps.items()}
    return TargetQueries(maps, {layer: float(q.std()) for layer, q in maps.items()}, dict.fromkeys(layers, 1.0), whole)
