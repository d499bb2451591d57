"""Held-out edited views rendered by a radiance field trained on the others: the figure that needs no
truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnerf.metrics.registry import Metric

if TYPE_CHECKING:
    from qnerf.metrics.evaluate import Edited


def measure(edited: Edited) -> dict[str, float]:
    from qnerf.metrics.heldout import heldout_in_scene, tested_views

    given = edited.settings
    every, field, seed = given["metrics.heldout_every"], given["rgb_field"], given["seed"]
    found = heldout_in_scene(edited.images, edited.scene, every, field, seed, edited.show)
    return {"heldout_psnr": found, "heldout_views": tested_views(len(edited.scene.cameras), every)}


METRICS = (
    Metric(
        "heldout_psnr", "heldout", ("held-out views",), "dB", "higher",
        "A radiance field is trained on most of the edited views, and its renderings are compared with the "
        "others. A blurred edit scores well: read it beside a PSNR to the truth.",
        "ours", measure, "PSNR, held-out views", digits=2, place=50,
        reads=("metrics.heldout_every", "rgb_field", "seed", "scene.focus", "scene.radius"),
    ),
    Metric(
        "heldout_views", "heldout", ("held-out views",), "", None,
        "How many views the held-out figures rest on. Of one or two they say little.",
        "ours", measure, "number of held-out views", digits=0, place=52, reads=("metrics.heldout_every",),
    ),
)  # fmt: skip
