"""One view is edited and carried to the others by the geometry at hand, then each is refined by a short noising and denoising
(the idea of GeM-NR, 2026, and of other editors without training; docs/method.md §5.5).

The geometry is what bounds the edited object, from the 3-D proxy, as it is on any capture that can be edited here: it bounds the
object and does not trace it, so that the refinement has to settle the rest. Where the anchor does not show what a view sees, and
beside the object, the view starts from the source's own picture. `schedule.start=anchor_warp` begins other schedules likewise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.guidance.guidance import GuidanceSettings
from qnerf.schedules.schedule import Schedule, ScheduleSettings, Work

if TYPE_CHECKING:
    from qnerf.attention.layers import AttentionLayer
    from qnerf.consolidation.checkpoint import Checkpoints
    from qnerf.consolidation.job import EditJob
    from qnerf.consolidation.result import EditResult
    from qnerf.guidance.guidance import Guidance


class AnchorWarpSettings(ScheduleSettings):
    """anchor: number of the view that is edited first; None: the one in whose region most may move. refined: share of the steps,
    the last ones, that refine the carried views. tolerance: relative difference in depth up to which the anchor shows a point."""

    name: Literal["anchor_warp"]
    anchor: int | None = Field(default=None, ge=0)
    refined: float = Field(default=0.5, gt=0, le=1)
    tolerance: float = Field(default=0.03, gt=0, le=0.2)

    @property
    def draws(self) -> bool:
        return True

    @property
    def reads_bounds(self) -> bool:
        return True

    def first_state(self, steps: int) -> int:
        return min(round((1 - self.refined) * steps), steps - 1)

    def work(self, guidance: GuidanceSettings, steps: int, views: int) -> Work:
        return {"unet": steps + (steps - self.first_state(steps)) * views}

    def build(self) -> AnchorWarp:
        return AnchorWarp(self)


class AnchorWarp(Schedule):
    settings: AnchorWarpSettings

    def edit(self, guidance: Guidance, layers: tuple[AttentionLayer, ...], job: EditJob, checkpoints: Checkpoints) -> EditResult:
        from qnerf.consolidation.anchored import anchored_latents
        from qnerf.consolidation.phases import plain_steps
        from qnerf.consolidation.result import EditResult

        s, steps = self.settings, len(job.steps)
        first = s.first_state(steps)
        z = anchored_latents(job, first, "schedule", s.anchor, s.tolerance)
        return EditResult(plain_steps(job, z, first, steps)[0])
