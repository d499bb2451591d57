"""Which denoising steps are guided. Needs neither torch nor a model: plans ask it too."""

from __future__ import annotations

from qnerf.guidance.settings import GuidanceSettings


def guides(settings: GuidanceSettings, k: int, steps: int) -> bool:
    """Whether step k of so many reads queries to be guided by, where there are any."""
    return settings.name != "off" and k < settings.until * steps
