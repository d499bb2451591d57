"""What a schedule is: its settings, and how an edit goes through the denoising steps (docs/method.md §2.6).
Needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field

from qnerf.guidance.guidance import GuidanceSettings
from qnerf.variants import Variant

if TYPE_CHECKING:
    from qnerf.attention.layers import AttentionLayer
    from qnerf.consolidation.checkpoint import Checkpoints
    from qnerf.consolidation.job import EditJob
    from qnerf.consolidation.result import EditResult
    from qnerf.guidance.guidance import Guidance

Work = dict[str, float]
"""Number of units by kind. "unet": U-Net passes of one view; a backward pass counts as two. "field":
trained query fields; one with a warm start counts as its share of the iterations. "feedback": trained
radiance fields. The runner measures the time per unit."""


class ScheduleSettings(Variant):
    """What planning, identities and checks need to know. By default each view is edited by itself."""

    @property
    def edits(self) -> bool:
        """Whether the model is run at all."""
        return True

    @property
    def consolidates(self) -> bool:
        """Whether views influence each other; otherwise guidance and recorder have no effect."""
        return False

    @property
    def reads_truth(self) -> bool:
        """Whether it needs the true edited views, inverted."""
        return False

    @property
    def draws(self) -> bool:
        """Whether it draws noise, which the seed decides."""
        return False

    @property
    def reads_bounds(self) -> bool:
        """Whether it needs the distance to what bounds the edited object, from a 3-D proxy."""
        return False

    @property
    def reads_posed(self) -> bool:
        """Whether it needs the posed views: the scene after the edit, as the source views show it (docs/method.md
        §7)."""
        return self.follows_posed

    @property
    def follows_posed(self) -> bool:
        """Whether it needs the posed views inverted too, under the target's prompt and control."""
        return False

    @property
    def starts_from(self) -> str:
        """What the first state is of: "source" (the source views' inversion), "posed" (the posed views') or "anchor_warp"."""
        return "source"

    @property
    def trains_fields(self) -> bool:
        """Whether query fields are trained; otherwise their settings and the seed have no effect."""
        return False

    @property
    def trains_radiance_field(self) -> bool:
        """Whether it trains a radiance field; otherwise the settings of that field have no effect."""
        return False

    def work(self, guidance: GuidanceSettings, steps: int, views: int) -> Work:
        """The work of an edit of `views` views in `steps` denoising steps."""
        return {"unet": steps * views}

    def doubted(self) -> Self:
        """What it turns into where the posed views are not trusted, which nobody knows before they
        are rendered."""
        return self

    def guided_passes(self, guidance: GuidanceSettings, steps: int) -> int:
        """Of them, U-Net passes of one view in steps that guidance may change."""
        return 0

    def read_passes(self, guidance: GuidanceSettings, steps: int) -> int:
        """Of those, passes of one view that read queries and take no step: of one prediction each."""
        return 0

    def kept_intervals(self, guidance: GuidanceSettings, steps: int) -> list[int]:
        """The states at which an interrupted edit can resume."""
        return []

    def unguided(self, stop: int) -> bool:
        """Whether the interval that ends at state `stop` is unguided, so that all guidances share it."""
        return False

    def first_state(self, steps: int) -> int:
        """The state that the edit starts from, 0 to steps - 1."""
        return 0

    def effective_settings(self) -> dict[str, Any]:
        """The settings that can change a result, as plain data."""
        return self.model_dump(mode="json")

    def interval_settings(self) -> dict[str, Any]:
        """The settings that an interval depends on, as plain data."""
        return self.effective_settings()

    def skipping(self, share: float) -> Self:
        """The same, which leaves out this share of the steps unless it says itself how many."""
        return self

    def problem(self, guidance: GuidanceSettings, steps: int, where: str) -> str | None:
        """Why the settings cannot work together, one sentence, or None. where: prefix of this method's
        keys."""
        return None

    def build(self) -> Schedule:
        raise NotImplementedError


class SkippingSettings(ScheduleSettings):
    """skip: share of the steps that is left out: the edit starts from a later state of the source views' inversion, and so keeps
    more of them. None: as many as the inversion says (ddpm), 0 by most."""

    skip: float | None = Field(default=None, ge=0, lt=1)

    def skipping(self, share: float) -> Self:
        return self if self.skip is not None or share == 0 else self.model_copy(update={"skip": share})

    def effective_settings(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude=set() if self.skip else {"skip"})

    def first_state(self, steps: int) -> int:
        """The state that the edit starts from, 0 to steps - 1."""
        return min(round((self.skip or 0.0) * steps), steps - 1)


class StartingSettings(SkippingSettings):
    """start: what the first state is. "source": the noisiest of the source views' inversion. "posed": where parts
    move, that of the posed views' inversion after `start_at` of the steps, which are then left out; the source
    views' elsewhere. "anchor_warp": that of the schedule of this name, one edited view carried to all, noised to the state after
    `start_at` of the steps. Early states decide about geometry, so a late start keeps more of the posed or carried views."""

    start: Literal["source", "posed", "anchor_warp"] = "source"
    start_at: float = Field(default=0.4, ge=0, lt=1)

    @property
    def starts_from(self) -> str:
        return self.start

    @property
    def follows_posed(self) -> bool:
        return self.start == "posed"

    @property
    def draws(self) -> bool:
        return self.start == "anchor_warp"

    @property
    def reads_bounds(self) -> bool:
        return self.start == "anchor_warp"

    def start_passes(self, steps: int) -> int:
        """U-Net passes of one view before the first state is there: the edit of the view that is carried to the others."""
        return steps if self.start == "anchor_warp" else 0

    def effective_settings(self) -> dict[str, Any]:
        unread = {"start_at"} if self.start == "source" else {"skip"}
        return {key: value for key, value in super().effective_settings().items() if key not in unread}

    def first_state(self, steps: int) -> int:
        return super().first_state(steps) if self.start == "source" else min(round(self.start_at * steps), steps - 1)


class Schedule:
    """One walk through the denoising steps."""

    def __init__(self, settings: ScheduleSettings) -> None:
        self.settings = settings

    def edit(self, guidance: Guidance, layers: tuple[AttentionLayer, ...], job: EditJob, checkpoints: Checkpoints) -> EditResult:
        """All views of the job, edited. layers: whose queries are recorded. checkpoints: where finished
        intervals are kept."""
        raise NotImplementedError
