"""Loose depth: is the object inside the region that bounds it, and how near is it to the true one?"""

from __future__ import annotations

import torch

from qnerf.evaluate_backbone.answers import answers, failures
from qnerf.evaluate_backbone.jobs import Job
from qnerf.evaluate_backbone.settings import EvaluateSettings
from qnerf.evaluate_backbone.subject import Findings, Subject
from qnerf.metrics.overlap import constant_iou, mask_iou, share_inside


def job(settings: EvaluateSettings) -> Job:
    return Job("generate", "loose_depth", settings.guidance, settings.views, settings.null_control)


def jobs(settings: EvaluateSettings) -> list[Job]:
    return [job(settings)]


def measure(subject: Subject) -> Findings:
    """inside: mean over views of the share of the silhouette inside the region (where the control is not black). Beside it the
    true views' as ceiling, and as floors one silhouette for all views and the whole region's overlap with the true object."""
    views = subject.views
    drawn = subject.painter.paint(job(subject.settings))
    region = views.controls["loose_depth"].amax(dim=1) > 0
    figures = {}
    for name, images in (("generated", drawn), ("true", views.images)):
        found = subject.classifiers.look(images).silhouettes
        figures[name] = {**answers(subject.classifiers, images, views), "inside": share_inside(found, region).mean().item()}
    floors = {
        "silhouette_iou_constant": constant_iou(views.silhouettes),
        "silhouette_iou_region": torch.nanmedian(mask_iou(region, views.silhouettes)).item(),
    }
    worst = failures(subject.classifiers, drawn, views)
    rows = (views.controls["loose_depth"], views.images, drawn)
    sheets = {"loose": [list(some[:10]) for some in rows], "loose_failures": [list(some[worst]) for some in rows]}
    return Findings({**figures, **floors}, sheets)
