"""The judges themselves, on true renders: the ceiling of what they can say of any picture."""

from __future__ import annotations

from qnerf.examine.jobs import Job
from qnerf.examine.judging import judge
from qnerf.examine.settings import ExamineSettings
from qnerf.examine.subject import Findings, Subject


def jobs(settings: ExamineSettings) -> list[Job]:
    return []


def measure(subject: Subject) -> Findings:
    return Findings({"revision": subject.judges.revision, **judge(subject.judges, subject.views.images, subject.views)})
