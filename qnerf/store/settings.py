"""Settings of the artefact store: where results of stages are kept, and how much of them. They change no result."""

from __future__ import annotations

from pydantic import Field

from qnerf.settings import Settings


class StoreSettings(Settings):
    """path: the store's folder, which runs on several machines may share; none: `store` in the run's output_dir.

    max_gib: what was used longest ago is dropped beyond this size, in GiB; none: nothing is dropped.
    """

    path: str | None = None
    max_gib: float | None = Field(default=20.0, gt=0)
