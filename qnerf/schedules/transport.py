"""Transport: guided by the queries of the posed source field, and by consolidated ones where these are not to be believed
(ours, docs/method.md §7)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from qnerf.guidance.guidance import GuidanceSettings
from qnerf.schedules.look_ahead import LookAhead, LookAheadSettings
from qnerf.schedules.schedule import Schedule, Work

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.layers import AttentionLayer
    from qnerf.consolidation.checkpoint import Checkpoints
    from qnerf.consolidation.job import EditJob
    from qnerf.consolidation.result import EditResult
    from qnerf.consolidation.targets import TargetQueries
    from qnerf.guidance.guidance import Guidance

    Layers = tuple[AttentionLayer, ...]

log = logging.getLogger(__name__)


class TransportSettings(LookAheadSettings):
    """The source's radiance field, posed, says what the moved parts look like, and the queries of its renderings guide
    the views. A token's share of that guidance is its trust times a factor that falls from 1 at `full_until` to 0 at
    `gone_at`, shares of the steps. Progressive consolidation has the rest where there is a field. The posed views know
    all of the object, so they guide all of it; `guidance.region` is that of the fields.

    consolidate_below: query fields are trained only where the mean trust of the moved parts is below this; 0: never;
    1: always. Where the posed views are trusted, they alone were better, and cost no field (docs/log.md).
    consolidate_from: share of the steps before which none is trained. With a trust of 0 everywhere, consolidate_from 0
    and consolidate_below 1 this is the progressive schedule.
    hold_until: up to this share of the steps the object's trusted places keep the latents of the posed views' inversion, as in
    blended latent diffusion (Avrahami et al. 2023). What is left of the picture, and in the steps after it the seams, are the
    model's. 0: never.
    """

    name: Literal["transport"]
    full_until: float = Field(default=1.0, ge=0, le=1)
    gone_at: float = Field(default=1.0, ge=0, le=1)
    consolidate_below: float = Field(default=0.5, ge=0, le=1)
    consolidate_from: float = Field(default=0.0, ge=0, le=1)
    hold_until: float = Field(default=0.8, ge=0, le=1)

    @property
    def follows_posed(self) -> bool:
        return True

    @property
    def trains_fields(self) -> bool:
        """Whether it may."""
        return self.consolidate_below > 0

    def effective_settings(self) -> dict[str, Any]:
        unread = set() if self.trains_fields else {"interval", "growth", "warm_start", "consolidate_from"}
        return {key: value for key, value in super().effective_settings().items() if key not in unread}

    def alone(self) -> TransportSettings:
        """The same without query fields."""
        return self.model_copy(update={"consolidate_below": 0.0})

    def doubted(self) -> TransportSettings:
        """With query fields, if it may train any."""
        return self.model_copy(update={"consolidate_below": 1.0}) if self.trains_fields else self

    def transported(self, k: int, steps: int) -> float:
        """The factor of step k of `steps`, 0 to 1."""
        now, begin, end = k / steps, self.full_until, self.gone_at
        return 1.0 if now < begin else max(0.0, (end - now) / (end - begin)) if end > begin else 0.0

    def stops(self, guidance: GuidanceSettings, steps: int) -> list[int]:
        """None without fields; with them as many as there may be."""
        stops = super().stops(guidance, steps) if self.trains_fields else []
        return [stop for stop in stops if stop >= self.consolidate_from * steps]

    def guided_passes(self, guidance: GuidanceSettings, steps: int) -> int:
        """U-Net passes of one view in all steps. One more at each that is guided by the posed views reads their queries."""
        first = self.first_state(steps)
        begin = min(self.stops(guidance, steps), default=steps)
        guided = [k for k in range(first, steps) if self.transported(k, steps) > 0 or k >= begin]
        steps_passes = steps - first - len(guided) + sum(guidance.step_passes(k, steps) for k in guided)
        return steps_passes + self.read_passes(guidance, steps)

    def read_passes(self, guidance: GuidanceSettings, steps: int) -> int:
        """One for each step that the posed views' queries guide."""
        return sum(self.transported(k, steps) > 0 and guidance.guides(k, steps) for k in range(self.first_state(steps), steps))

    def work(self, guidance: GuidanceSettings, steps: int, views: int) -> Work:
        """That of a proxy that fits: no query field, unless they are always trained."""
        planned = self if self.consolidate_below == 1 else self.alone()
        return super(TransportSettings, planned).work(guidance, steps, views)

    def problem(self, guidance: GuidanceSettings, steps: int, where: str) -> str | None:
        if self.full_until > self.gone_at:
            return (
                f"{where}schedule.full_until: got {self.full_until:g}, behind {where}schedule.gone_at, {self.gone_at:g}; "
                "expected at most as much: raise gone_at"
            )
        if guidance.only_shows or not guidance.guides(self.first_state(steps), steps):
            return f"{where}guidance: {guidance.name} guides no step; schedule=transport needs one that does: guidance=explained"
        if self.consolidate_below < 1:  # fields are trained where the posed views are not trusted, if any interval is left then
            return None
        if not self.stops(guidance, steps) and super().stops(guidance, steps):
            return (
                f"{where}schedule.consolidate_from: got {self.consolidate_from:g}, behind the last interval; expected less, or no "
                "field is ever trained"
            )
        return super().problem(guidance, steps, where)

    def build(self) -> Schedule:
        return Transport(self)


class Transport(LookAhead):
    """Progressive consolidation whose steps have a second target: the posed views' queries of that very step. After a step that
    leads to a state up to `hold_until`, trusted places take the posed views' latents of that state."""

    settings: TransportSettings  # pyright: ignore[reportIncompatibleVariableOverride]

    def edit(self, guidance: Guidance, layers: Layers, job: EditJob, checkpoints: Checkpoints) -> EditResult:
        trust, below = mean_trust(job), self.settings.consolidate_below
        needed = trust < below or below == 1
        if needed and below < 1:
            log.warning(
                "The posed views are trusted at %.2f on what moves, less than schedule.consolidate_below, %.2f: query fields are "
                "trained as well, which takes longer than planned. Does the proxy fit the views? If it does, posing.refine=0 takes "
                "its joints as they are, and trusts them.",
                trust,
                below,
            )
            planned, work = (
                settings.work(guidance.settings, len(job.steps), job.views) for settings in (self.settings, self.settings.doubted())
            )
            job.on_more({kind: units - planned.get(kind, 0) for kind, units in work.items()})
        walk = Transport(self.settings if needed else self.settings.alone())
        return super(Transport, walk).edit(guidance, layers, job, checkpoints)

    def steps(
        self, guidance: Guidance, layers: Layers, job: EditJob, z: Tensor, start: int, stop: int, target: TargetQueries | None
    ) -> Tensor:
        import torch

        from qnerf.consolidation.along import queries_along
        from qnerf.consolidation.phases import guided_steps
        from qnerf.consolidation.posed import held, shared

        posed, count, size = job.needed_posed(), len(job.steps), job.backbone.latent_size
        trajectory, _ = posed.inverted()
        region = job.region.object[:, None]
        share = held(posed.trust, region, size)
        for k in range(start, stop):
            factor, both = self.settings.transported(k, count), target
            if factor > 0 and guidance.settings.guides(k, count):
                own = queries_along(job, trajectory, layers, k)
                both = shared(own, factor * posed.trust, target, size, region)
            z = guided_steps(job, guidance, z, k, k + 1, both)
            if k + 1 <= self.settings.hold_until * count:
                z = torch.lerp(z, trajectory.states[k + 1].to(z), share.to(z))
        return z


def mean_trust(job: EditJob) -> float:
    """The posed views' mean trust where parts move, over all views, 0 to 1."""
    import torch.nn.functional as F

    from qnerf.devices import HOST

    trust, moved = job.needed_posed().trust[:, None], job.region.moved[:, None].to(HOST)
    trust = F.adaptive_avg_pool2d(trust, (moved.shape[-2], moved.shape[-1]))
    return ((trust * moved).sum() / moved.sum().clamp(min=1e-6)).item()
