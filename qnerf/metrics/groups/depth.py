"""How well the last query field knows the shape of the edited object; measured for every edit that trained
one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnerf.metrics.registry import Metric

if TYPE_CHECKING:
    from qnerf.metrics.evaluate import Edited


def measure(edited: Edited) -> dict[str, float]:
    from qnerf.metrics.depth import field_depth_error

    assert edited.field_depth is not None
    truth = edited.truth
    return {"field_depth_error": field_depth_error(edited.field_depth, truth.depth_edited, truth.silhouette_edited)}


METRICS = (
    Metric(
        "field_depth_error", "depth", ("truth", "query field"), "", "lower",
        "Mean difference between the field's expected depth and the true depth of the edited object, in "
        "world units.",
        "ours", measure, "depth error of the last query field", digits=3, place=70, always=True,
    ),
)  # fmt: skip
