"""Settings: which self-attention layers' queries are recorded and consolidated."""

from __future__ import annotations

from pydantic import Field

from qnerf.settings import Settings


class RecorderSettings(Settings):
    """A named set of self-attention layers, by index in execution order (SD 1.5: 0-5 encoder, 6 middle, 7-15 decoder)."""

    name: str
    layers: tuple[int, ...] = Field(min_length=1)
