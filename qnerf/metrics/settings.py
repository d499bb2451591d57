"""Settings of the metrics."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from qnerf.common.messages import sentence
from qnerf.metrics.registry import chosen_groups, groups
from qnerf.settings import Settings


class MetricsSettings(Settings):
    """What is measured (docs/method.md §6). Groups that need the true edited views are skipped where these are not
    known."""

    name: Literal["default"] = "default"
    # fidelity: PSNR and SSIM to the truth; consistency: warp errors; errors: the error of the mean over
    # views, and the variance between views; silhouette: its overlap; heldout: an RGB field's PSNR; and any
    # other registered group
    # (qnerf.metrics.registry).
    groups: tuple[str, ...] = ("fidelity", "consistency", "errors", "silhouette", "heldout")
    # The groups among them that are also measured of the model's own pictures, where the output keeps pixels of the source.
    # Without heldout, which trains another radiance field for each method.
    decoded_groups: tuple[str, ...] = ("fidelity", "consistency", "errors", "silhouette")
    # Share of the distance by which two views' depths of one point may differ before it counts as hidden.
    depth_tolerance: float = Field(default=0.02, gt=0, le=0.2)
    # Difference from the scene without its object, in [0, 1], from which a pixel counts as object; lowered for objects
    # of the background's colour.
    silhouette_threshold: float = Field(default=0.08, gt=0, lt=1)
    # Every n-th view is held out: the RGB field does not train on it and is tested on it.
    heldout_every: int = Field(default=4, ge=2)

    @field_validator("groups", "decoded_groups")
    @classmethod
    def _are_registered(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in chosen_groups():
                raise ValueError(sentence(name, "there is no such group of metrics", name, chosen_groups()))
        return names

    def measured(self) -> tuple[str, ...]:
        """The groups that are computed, and kept, each by itself: those chosen, and those that always are."""
        always = (group for group, metrics in groups().items() if any(metric.always for metric in metrics))
        return tuple(dict.fromkeys((*self.groups, *always)))

    def measured_as_decoded(self) -> tuple[str, ...]:
        """The groups that are computed once more, of the model's own pictures."""
        return tuple(group for group in dict.fromkeys(self.groups) if group in self.decoded_groups)
