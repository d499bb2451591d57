"""Settings of the artefact store, which keeps the results of stages. They change no result."""

from __future__ import annotations

from pydantic import Field

from qnerf.settings import Settings


class StoreSettings(Settings):
    """path: the store's folder, which several machines may share; None: <output_dir>/store.

    max_gib: above this size, GiB, the least recently used results are deleted; None: no limit.
    """

    path: str | None = None
    max_gib: float | None = Field(default=20.0, gt=0)
