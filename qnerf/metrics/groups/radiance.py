"""What a radiance field makes of the edited views beside `heldout_psnr`: the structure of held-out views, and whether its depths
agree. No truth is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnerf.metrics.registry import Metric

if TYPE_CHECKING:
    from qnerf.metrics.evaluate import Edited

EVERY, TOLERANCE = "metrics.heldout_every", "metrics.depth_tolerance"
READS = (EVERY, TOLERANCE, "rgb_field", "seed", "scene.focus", "scene.radius")


def measure(edited: Edited) -> dict[str, float]:
    from qnerf.fields.space import Space
    from qnerf.metrics.radiance import radiance_figures

    given, scene = edited.settings, edited.scene
    field, seed = given["rgb_field"], given["seed"]
    space = Space(scene.focus, scene.radius)
    found = radiance_figures(edited.images, scene.cameras, space, given[EVERY], field, seed, given[TOLERANCE])
    return {name: found[name] for name in ("heldout_ssim", "depth_agreement")}


METRICS = (
    Metric(
        "heldout_ssim", "radiance", ("held-out views",), "", "higher",
        "Structural similarity of edited views to what a radiance field renders there that is trained on the others.",
        "Wang et al. 2004", measure, "SSIM, held-out views", digits=3, place=51, reads=READS,
    ),
    Metric(
        "depth_agreement", "radiance", ("held-out views",), "", "higher",
        "Share of the points of interest at which the depth that this field shows in one view is the one that it shows in "
        "neighbouring views. Occlusions lower it: read it beside that of the source views.",
        "ours", measure, "depth agreement of the field", digits=3, place=52, reads=READS,
    ),
)  # fmt: skip
