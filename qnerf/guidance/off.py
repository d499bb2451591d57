"""No guidance: fields are trained and can be inspected, but rendered queries are ignored."""

from __future__ import annotations

from typing import Literal

from qnerf.guidance.guidance import Guidance, GuidanceSettings


class OffSettings(GuidanceSettings):
    """Fields are trained and rendered as with any other guidance, but have no effect."""

    name: Literal["off"]

    @property
    def only_shows(self) -> bool:
        return True

    def guides(self, k: int, steps: int) -> bool:
        return False

    def build(self) -> Guidance:
        return Guidance(self)
