"""Settings of the measuring of an edit."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from qnerf.settings import Settings

MetricGroup = Literal["fidelity", "consistency", "errors", "silhouette", "heldout"]


class MetricsSettings(Settings):
    """What is measured (METHOD §6). Groups that need the true edited views are left out where they are not known."""

    name: Literal["default"] = "default"
    # fidelity: PSNR and SSIM to the truth; consistency: warp errors; errors: what of the error views share, and what each has of
    # its own; silhouette: its overlap; heldout: an RGB field's PSNR.
    groups: tuple[MetricGroup, ...] = ("fidelity", "consistency", "errors", "silhouette", "heldout")
    # Share of the distance by which two views' depths of one point may differ before it counts as hidden.
    depth_tolerance: float = Field(default=0.02, gt=0, le=0.2)
    # Difference from the scene without its object, in [0, 1], from which a pixel counts as object; lowered for objects
    # of the background's colour.
    silhouette_threshold: float = Field(default=0.08, gt=0, lt=1)
    # Every how manieth view is kept from the RGB field and used to test it.
    heldout_every: int = Field(default=4, ge=2)

    def measured(self) -> tuple[str, ...]:
        """The groups that are computed, and kept, each by itself; "depth" is of the edits that trained a field."""
        return (*self.groups, "depth")
