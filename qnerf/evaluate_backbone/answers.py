"""The classifiers' answers on pictures, compared with the truth of the views that these should show."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qnerf.classifiers.accuracy import accuracy, accuracy_by_part, confusions, counted_parts
from qnerf.classifiers.classifiers import Classifiers, Verdict
from qnerf.evaluate_backbone.views import Views
from qnerf.metrics.overlap import mask_iou
from qnerf.scenes.procedural.world import KINDS


def answers(classifiers: Classifiers, images: Tensor, views: Views) -> dict[str, Any]:
    """colour_accuracy: over the parts that captions name and true views show (`LEAST_PIXELS`); an answer that never changes
    has about 1/12. kind_accuracy: only where there are several kinds. silhouette_iou: the median over views."""
    verdict = classifiers.look(images)
    counted = counted_parts(views.names, views.parts)
    figures: dict[str, Any] = {
        "colour_accuracy": accuracy(verdict.names, views.names, counted),
        "colour_accuracy_by_part": accuracy_by_part(verdict.names, views.names, counted),
        "colours_counted": int(counted.sum()),
        "commonest_confusions": confusions(verdict.names, views.names, counted),
        "silhouette_iou": median_iou(verdict, views),
        "silhouette_iou_by_kind": _by_kind(mask_iou(verdict.silhouettes, views.silhouettes), views),
    }
    if len(views.kinds.unique()) > 1:
        figures["kind_accuracy"] = accuracy(verdict.kinds, views.kinds)
    return figures


def median_iou(verdict: Verdict, views: Views) -> float:
    """Median over views of the overlap of the silhouettes found with the true ones."""
    return torch.nanmedian(mask_iou(verdict.silhouettes, views.silhouettes)).item()


def _by_kind(values: Tensor, views: Views) -> dict[str, float]:
    return {KINDS[int(kind)]: torch.nanmedian(values[views.kinds == kind]).item() for kind in views.kinds.unique()}


def failures(classifiers: Classifiers, images: Tensor, views: Views, count: int = 10) -> list[int]:
    """Indices of the worst pictures, worst first: by the silhouette's overlap, less the share of wrong colours, less one for
    a wrong kind. Views whose object the classifiers find nowhere come first."""
    verdict, counted = classifiers.look(images), counted_parts(views.names, views.parts)
    wrong = (counted & (verdict.names != views.names)).sum(dim=1) / counted.sum(dim=1).clamp_min(1)
    overlap = mask_iou(verdict.silhouettes, views.silhouettes).nan_to_num(0.0)
    return (overlap - wrong - (verdict.kinds != views.kinds).float()).argsort(stable=True)[:count].tolist()
