"""Transport: guided by the queries of the posed source field, and by consolidated ones where these are not to be believed
(ours, docs/method.md §7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from qnerf.guidance.guidance import GuidanceSettings
from qnerf.schedules.look_ahead import LookAhead, LookAheadSettings
from qnerf.schedules.schedule import Schedule

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.layers import AttentionLayer
    from qnerf.consolidation.job import EditJob
    from qnerf.consolidation.targets import TargetQueries
    from qnerf.guidance.guidance import Guidance

    Layers = tuple[AttentionLayer, ...]


class TransportSettings(LookAheadSettings):
    """The source's radiance field, posed, says what the moved parts look like, and the queries of its renderings guide
    the views. A token's share of that guidance is its trust times a factor that falls from 1 at `full_until` to 0 at
    `gone_at`, shares of the steps; progressive consolidation has the rest, so that what the model adds (joints,
    shadows, what the edit uncovers) agrees as well.

    consolidate_from: share of the steps before which no query field is trained; None: none is trained at all. With a
    trust of 0 everywhere and consolidate_from 0 this is the progressive schedule.
    """

    name: Literal["transport"]
    full_until: float = Field(default=0.6, ge=0, le=1)
    gone_at: float = Field(default=1.0, ge=0, le=1)
    consolidate_from: float | None = Field(default=0.5, ge=0, le=1)

    @property
    def follows_posed(self) -> bool:
        return True

    @property
    def trains_fields(self) -> bool:
        return self.consolidate_from is not None

    def effective_settings(self) -> dict[str, Any]:
        unread = set() if self.trains_fields else {"interval", "growth", "warm_start"}
        return {key: value for key, value in super().effective_settings().items() if key not in unread}

    def transported(self, k: int, steps: int) -> float:
        """The factor of step k of `steps`, 0 to 1."""
        now, begin, end = k / steps, self.full_until, self.gone_at
        return 1.0 if now < begin else max(0.0, (end - now) / (end - begin)) if end > begin else 0.0

    def stops(self, guidance: GuidanceSettings, steps: int) -> list[int]:
        first = self.consolidate_from
        return [] if first is None else [stop for stop in super().stops(guidance, steps) if stop >= first * steps]

    def guided_passes(self, guidance: GuidanceSettings, steps: int) -> int:
        """U-Net passes of one view in all steps. One more at each that is guided by the posed views reads their queries."""
        first = self.first_state(steps)
        begin = min(self.stops(guidance, steps), default=steps)
        guided = [k for k in range(first, steps) if self.transported(k, steps) > 0 or k >= begin]
        read = sum(self.transported(k, steps) > 0 and guidance.guides(k, steps) for k in guided)
        return steps - first - len(guided) + sum(guidance.step_passes(k, steps) for k in guided) + read

    def problem(self, guidance: GuidanceSettings, steps: int, where: str) -> str | None:
        if self.full_until > self.gone_at:
            return (
                f"{where}schedule.full_until: got {self.full_until:g}, behind {where}schedule.gone_at, {self.gone_at:g}; "
                "expected at most as much: raise gone_at"
            )
        if guidance.only_shows or not guidance.guides(self.first_state(steps), steps):
            return f"{where}guidance: {guidance.name} guides no step; schedule=transport needs one that does: guidance=explained"
        return None if self.consolidate_from is None else super().problem(guidance, steps, where)

    def build(self) -> Schedule:
        return Transport(self)


class Transport(LookAhead):
    """Progressive consolidation whose steps have a second target: the posed views' queries of that very step."""

    def __init__(self, settings: TransportSettings) -> None:
        super().__init__(settings)
        self.share = settings.transported

    def steps(
        self, guidance: Guidance, layers: Layers, job: EditJob, z: Tensor, start: int, stop: int, target: TargetQueries | None
    ) -> Tensor:
        from qnerf.consolidation.along import queries_along
        from qnerf.consolidation.phases import guided_steps
        from qnerf.consolidation.posed import shared

        posed, count = job.needed_posed(), len(job.steps)
        trajectory, _ = posed.inverted()
        for k in range(start, stop):
            factor, both = self.share(k, count), target
            if factor > 0 and guidance.settings.guides(k, count):
                both = shared(queries_along(job, trajectory, layers, k), factor * posed.trust, target, job.backbone.latent_size)
            z = guided_steps(job, guidance, z, k, k + 1, both)
        return z
