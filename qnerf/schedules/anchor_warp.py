"""One view is edited and carried to the others by the geometry at hand, then each is refined by a short noising and denoising
(the idea of GeM-NR, 2026, and of other editors without training; docs/method.md §5.5).

The geometry is what bounds the edited object, from the 3-D proxy, as it is on any capture that can be edited here: it bounds the
object and does not trace it, so that the refinement has to settle the rest. Where the anchor does not show what a view sees, and
beside the object, the view starts from the source's own picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.guidance.guidance import GuidanceSettings
from qnerf.schedules.schedule import Schedule, ScheduleSettings, Work

if TYPE_CHECKING:
    from torch import Tensor

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
        import torch

        from qnerf.consolidation.carried import carry
        from qnerf.consolidation.one_view import one_view
        from qnerf.consolidation.phases import plain_steps
        from qnerf.consolidation.result import EditResult
        from qnerf.denoising.noised import noised_states

        anchor, steps = self.anchor(job), len(job.steps)
        alone = one_view(job, anchor)
        job.editor.restore({})
        edited = plain_steps(alone, alone.trajectory.states[0], 0, steps)[0]
        with torch.no_grad():
            picture = job.backbone.decode(edited.to(job.device))[0]
            pictures, where = carry(picture, self.depth(job), job.cameras, anchor, self.settings.tolerance)
            clean = []
            for views in job.chunks():
                source = job.backbone.decode(job.trajectory.states[-1][views].to(job.device))
                start = torch.where(where[views] > 0, pictures[views], source)
                clean.append(job.backbone.encode(start).to(edited))
        first = self.settings.first_state(steps)
        z = noised_states(torch.cat(clean), job.steps, job.seed, 0)[first]
        job.editor.restore({})
        return EditResult(plain_steps(job, z, first, steps)[0])

    def anchor(self, job: EditJob) -> int:
        """The number of the view that is edited first. Raises UserError where there is none of the number that is set."""
        from qnerf.errors import UserError

        if self.settings.anchor is None:
            return int(job.region.moved.flatten(1).sum(dim=1).argmax())
        if self.settings.anchor >= job.views:
            raise UserError(
                f"schedule.anchor: got {self.settings.anchor}, but there are {job.views} views; expected a number from 0 to "
                f"{job.views - 1}, or null"
            )
        return self.settings.anchor

    def depth(self, job: EditJob) -> Tensor:
        """Raises UserError where there is no proxy that bounds the edited object."""
        from qnerf.errors import UserError

        if job.target_depth is None:
            raise UserError(
                "schedule=anchor_warp: the scene has no proxy.json, by whose bounds a view is carried to the others; give one with "
                "scene.proxy=…"
            )
        return job.target_depth
