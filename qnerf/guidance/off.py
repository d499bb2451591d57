"""Rendered queries are ignored: what fields learn can be looked at, and nothing else."""

from __future__ import annotations

from typing import Literal

from qnerf.guidance.guidance import Guidance, GuidanceSettings


class OffSettings(GuidanceSettings):
    """Fields are trained and rendered as by any other guidance, and act on nothing."""

    name: Literal["off"]

    @property
    def only_shows(self) -> bool:
        return True

    def guides(self, k: int, steps: int) -> bool:
        return False

    def build(self) -> Guidance:
        return Guidance(self)
