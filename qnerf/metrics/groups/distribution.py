"""How far the edited views, as a set of pictures, are from the source views: the paper's KID and FID, with other features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnerf.metrics.registry import Metric

if TYPE_CHECKING:
    from qnerf.metrics.evaluate import Edited

SIDE = 128  # pixels: what the classifiers were trained at


def measure(edited: Edited) -> dict[str, float]:
    import torch.nn.functional as F

    from qnerf.classifiers.classifiers import load_classifiers
    from qnerf.metrics.distribution import ClassifierFeatures, distances

    if len(edited.images) < 2:
        return {"kid_source": float("nan"), "fid_source": float("nan")}
    size = (SIDE, SIDE)
    same = edited.images.shape[-2:] == size
    pictures = (edited.images, edited.scene.images)
    views, source = (x if same else F.interpolate(x, size, mode="bilinear", antialias=True) for x in pictures)
    found = distances(views, source, ClassifierFeatures(load_classifiers(device=edited.images.device)))
    return {f"{name}_source": value for name, value in found.items()}


METRICS = (
    Metric(
        "kid_source", "distribution", (), "", "lower",
        "Kernel distance of the edited views from the source views, as two sets of pictures, with the features of the shipped "
        "classifiers: comparable with no published KID, and least where nothing is edited.",
        "Bińkowski et al. 2018; the set-up is the paper's", measure, "KID to the source views", place=60,
    ),
    Metric(
        "fid_source", "distribution", (), "", "lower",
        "Fréchet distance of the edited views from the source views, likewise. With a few views it is mostly bias, the same for "
        "all methods of one scene.",
        "Heusel et al. 2017; the set-up is the paper's", measure, "FID to the source views", place=61,
    ),
)  # fmt: skip
