"""What a schedule is: its settings, and how an edit walks through the denoising steps (docs/method.md §2.6).
Needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qnerf.guidance.guidance import GuidanceSettings
from qnerf.variants import Variant

if TYPE_CHECKING:
    from qnerf.attention.layers import AttentionLayer
    from qnerf.consolidation.checkpoint import Checkpoints
    from qnerf.consolidation.job import EditJob
    from qnerf.consolidation.result import EditResult
    from qnerf.guidance.guidance import Guidance

Work = dict[str, float]
"""Units by kind. "unet": U-Net passes of one view, a backward pass counts two. "field": query fields
trained, a warm start as the share of the iterations that it takes. "feedback": radiance fields. The
runner measures what a unit of each kind costs as it goes."""


class ScheduleSettings(Variant):
    """What plans, identities and checks ask of a schedule. By default every view is edited by
    itself."""

    @property
    def edits(self) -> bool:
        """Whether the model is run at all."""
        return True

    @property
    def consolidates(self) -> bool:
        """Whether queries of several views act on each other: only then do guidance and recorded layers
        count."""
        return False

    @property
    def reads_truth(self) -> bool:
        """Whether it needs the true edited views, inverted."""
        return False

    @property
    def trains_fields(self) -> bool:
        """Whether query fields are trained, so that their settings and the seed count."""
        return False

    @property
    def trains_radiance_field(self) -> bool:
        """Whether it trains a radiance field, so that its settings count."""
        return False

    def work(self, guidance: GuidanceSettings, steps: int, views: int) -> Work:
        """What an edit of `views` views in `steps` denoising steps will take, before it starts."""
        return {"unet": steps * views}

    def kept_intervals(self, guidance: GuidanceSettings, steps: int) -> list[int]:
        """The states at whose intervals' ends a broken edit can go on."""
        return []

    def unguided(self, stop: int) -> bool:
        """Whether nothing guides the interval that ends at state `stop`, so that edits of any guidance
        share it."""
        return False

    def interval_settings(self) -> dict[str, Any]:
        """The settings that an interval depends on, as plain data."""
        return self.model_dump(mode="json")

    def problem(self, guidance: GuidanceSettings, steps: int, where: str) -> str | None:
        """Why the settings cannot work together, one sentence, or None. where: prefix of this method's
        keys."""
        return None

    def build(self) -> Schedule:
        raise NotImplementedError


class Schedule:
    """One walk through the denoising steps."""

    def __init__(self, settings: ScheduleSettings) -> None:
        self.settings = settings

    def edit(self, guidance: Guidance, layers: tuple[AttentionLayer, ...], job: EditJob, checkpoints: Checkpoints) -> EditResult:
        """All views of the job, edited. layers: whose queries are recorded. checkpoints: where finished
        intervals are kept."""
        raise NotImplementedError
