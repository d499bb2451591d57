"""Settings of the schedules: where the consolidated queries come from, and when (METHOD §2.6)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from qnerf.settings import Settings


class IndependentSettings(Settings):
    """Every view is edited by itself."""

    name: Literal["independent"]


class SourceSettings(Settings):
    """No edit: the source views through the autoencoder, what an editor that does nothing would score."""

    name: Literal["source"]


class FeedbackSettings(Settings):
    """at: share of the steps after which the views are drawn towards their common radiance field, or later: not before the last
    query field is trained. weight: how far, up to 1, all the way."""

    at: float = Field(gt=0, lt=1)
    weight: float = Field(gt=0, le=1)


class ProgressiveSettings(Settings):
    """QNeRF: a new field every `interval` steps, trained on a look-ahead. growth: of each interval over the one before, since early
    steps decide about geometry and late ones about detail; 1: all are as long (the paper's). warm_start: each field but the
    first begins from the one before and takes this share of the iterations; none: every field begins anew, with all of them.
    feedback: once from pictures, by a radiance field (ours); none: the paper's."""

    name: Literal["progressive"]
    interval: int = Field(default=5, ge=1)
    growth: float = Field(default=1.0, ge=0.5, le=3)
    warm_start: float | None = Field(default=None, gt=0, le=1)
    feedback: FeedbackSettings | None = None


class OneShotSettings(Settings):
    """A single field trained on the queries cached at the ends of intervals along an independent edit, a head for each."""

    name: Literal["one_shot"]
    interval: int = Field(default=5, ge=1)
    growth: float = Field(default=1.0, ge=0.5, le=3)


class OracleSettings(Settings):
    """Queries of the true edited views, from their own inversion, at every step: what better queries could give. Needs a scene with
    truth."""

    name: Literal["oracle"]


ScheduleSettings = Annotated[
    SourceSettings | IndependentSettings | ProgressiveSettings | OneShotSettings | OracleSettings, Field(discriminator="name")
]


def consolidates(schedule: ScheduleSettings) -> bool:
    """Whether queries of several views act on each other: only then do guidance and captured layers count."""
    return not isinstance(schedule, SourceSettings | IndependentSettings)
