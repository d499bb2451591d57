"""The classifiers themselves, on true renders: the ceiling of every figure that they give."""

from __future__ import annotations

from qnerf.evaluate_backbone.answers import answers
from qnerf.evaluate_backbone.jobs import Job
from qnerf.evaluate_backbone.settings import EvaluateSettings
from qnerf.evaluate_backbone.subject import Findings, Subject


def jobs(settings: EvaluateSettings) -> list[Job]:
    return []


def measure(subject: Subject) -> Findings:
    return Findings({"revision": subject.classifiers.revision, **answers(subject.classifiers, subject.views.images, subject.views)})
