"""Redness: the mean of the red channel of the edited views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnerf.metrics.registry import Metric

if TYPE_CHECKING:
    from qnerf.metrics.evaluate import Edited


def measure(edited: Edited) -> dict[str, float]:
    return {"redness": edited.images[:, 0].mean().item()}


METRICS = (Metric("redness", "redness", (), "", "higher", "How red the views are.", "ours", measure, "redness"),)
