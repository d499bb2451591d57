"""Settings of the trackers: where a run's figures and pictures are recorded. None of them can change a result."""

from typing import Annotated, Literal

from pydantic import Field

from qnerf.settings import Settings


class FilesTrackerSettings(Settings):
    """Plain files in the run folder: one JSON object a line in metrics.jsonl."""

    name: Literal["files"]


class WandbTrackerSettings(Settings):
    """Weights & Biases, beside the plain files. Its run id is the run's identity: a resumed run continues its curve."""

    name: Literal["wandb"]
    project: str = Field(default="qnerf", min_length=1)
    entity: str | None = None  # the account or team; none: the account's default
    mode: Literal["offline", "online", "disabled"] = "offline"  # offline: nothing leaves the machine until `wandb sync`
    tags: tuple[str, ...] = ()
    group: str | None = None  # what W&B shows together; none: the experiment, which all runs of a sweep share


TrackerSettings = Annotated[FilesTrackerSettings | WandbTrackerSettings, Field(discriminator="name")]
