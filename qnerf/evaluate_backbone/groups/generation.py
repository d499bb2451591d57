"""Text and skeleton: does the backbone draw what the caption says where the control says it?"""

from __future__ import annotations

import math

from qnerf.evaluate_backbone.answers import answers, failures
from qnerf.evaluate_backbone.jobs import Job
from qnerf.evaluate_backbone.settings import EvaluateSettings
from qnerf.evaluate_backbone.subject import Findings, Subject
from qnerf.evaluate_backbone.views import heldout_views
from qnerf.metrics.distribution import ClassifierFeatures, distances
from qnerf.metrics.overlap import constant_iou


def job(settings: EvaluateSettings) -> Job:
    return Job("generate", settings.control, settings.guidance, settings.views, settings.null_control)


def jobs(settings: EvaluateSettings) -> list[Job]:
    return [job(settings)]


def measure(subject: Subject) -> Findings:
    """What the classifiers say of generated pictures, of the autoencoder's round trip of the true ones, and of these; the
    same one silhouette for all views as a floor; FID and KID of each from as many true renders of other held-out scenes."""
    s, views = subject.settings, subject.views
    drawn, returned = subject.painter.paint(job(s)), subject.painter.round_trip(s.views)
    others = heldout_views(s.seed, s.views, s.views, views.images.shape[-1], s.world, (), s.kinds).images
    features = ClassifierFeatures(subject.classifiers)
    rows = {"generated": drawn, "round_trip": returned, "true": views.images}
    figures = {
        name: {**answers(subject.classifiers, images, views), **distances(images, others, features)}
        for name, images in rows.items()
    }
    figures["generated"]["kid_over_round_trip"] = ratio(figures["generated"]["kid"], figures["round_trip"]["kid"])
    control = views.controls[s.control]
    worst = failures(subject.classifiers, drawn, views)
    sheets = {
        "generation": [list(some[:10]) for some in (control, views.images, drawn)],
        "generation_failures": [list(some[worst]) for some in (control, views.images, drawn)],
    }
    figures["generated"]["failures"] = [{"view": view, "caption": views.captions[view]} for view in worst]
    return Findings({**figures, "silhouette_iou_constant": constant_iou(views.silhouettes), "features": features.name}, sheets)


def ratio(value: float, floor: float) -> float:
    """value / floor; NaN where the floor is not above 0, as an unbiased estimate can be."""
    return value / floor if floor > 0 else math.nan
