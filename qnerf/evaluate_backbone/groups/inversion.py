"""DDIM inversion and back, with caption and skeleton, against the autoencoder's reconstruction."""

from __future__ import annotations

from qnerf.evaluate_backbone.jobs import Job
from qnerf.evaluate_backbone.settings import EvaluateSettings
from qnerf.evaluate_backbone.subject import Findings, Subject
from qnerf.metrics.fidelity import psnr


def jobs(settings: EvaluateSettings) -> list[Job]:
    s = settings
    return [Job("reconstruct", s.control, 1.0, s.views), Job("reconstruct", s.control, s.strong_guidance, s.sweep_views)]


def measure(subject: Subject) -> Findings:
    """dB against the round trip, the mean over views: at γ = 1, and at a strong γ on both sides, which is to be worse
    (Mokady et al., "Null-text inversion", 2023, section 3.2); both on the views of the costlier one, γ = 1 on
    all too."""
    plain, strong = (subject.painter.paint(job) for job in jobs(subject.settings))
    few, trip = len(strong), subject.painter.round_trip(len(plain))
    figures = {
        "psnr": psnr(plain, trip),
        "psnr_of_the_few": psnr(plain[:few], trip[:few]),
        "psnr_strong_guidance": psnr(strong, trip[:few]),
        "strong_guidance": subject.settings.strong_guidance,
        "few": few,
    }
    figures["loss_by_strong_guidance"] = figures["psnr_of_the_few"] - figures["psnr_strong_guidance"]
    return Findings(figures, {"inversion": [list(some[:8]) for some in (trip, plain, strong)]})
