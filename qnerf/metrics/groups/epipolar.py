"""Matches of local features between neighbouring views against the geometry of their cameras: figures without a truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnerf.metrics.registry import Metric

if TYPE_CHECKING:
    from qnerf.metrics.evaluate import Edited


def measure(edited: Edited) -> dict[str, float]:
    from qnerf.metrics.epipolar import epipolar_figures

    return epipolar_figures(edited.images, edited.scene.cameras)


METRICS = (
    Metric(
        "tsed", "epipolar", ("held-out views",), "", "higher",
        "Share of pairs of neighbouring views that have 10 SIFT matches or more, whose median symmetric epipolar distance is "
        "below 2 pixels. Views with few textures have few matches: read it beside that of the source views.",
        "Yu et al. 2023", measure, "TSED", digits=3, place=54,
    ),
    Metric(
        "epipolar_inliers", "epipolar", ("held-out views",), "", "higher",
        "Share of the SIFT matches between neighbouring views whose symmetric epipolar distance is below 2 pixels.",
        "ours", measure, "epipolar inliers", digits=3, place=55,
    ),
    Metric(
        "epipolar_error", "epipolar", ("held-out views",), "px", "lower",
        "Median symmetric epipolar distance of the SIFT matches between neighbouring views.",
        "Yu et al. 2023", measure, "epipolar error", digits=3, place=56,
    ),
    Metric(
        "epipolar_matches", "epipolar", ("held-out views",), "", "higher",
        "SIFT matches with a symmetric epipolar distance below 2 pixels, by pair of neighbouring views. Blur and noise leave few.",
        "ours", measure, "matches that obey the cameras, by pair", digits=1, place=57,
    ),
)  # fmt: skip
