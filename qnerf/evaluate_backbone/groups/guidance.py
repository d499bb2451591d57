"""Guidance: prompts matter, and too much of it saturates."""

from __future__ import annotations

import torch
from torch import Tensor

from qnerf.evaluate_backbone.answers import answers
from qnerf.evaluate_backbone.jobs import Job
from qnerf.evaluate_backbone.settings import EvaluateSettings
from qnerf.evaluate_backbone.subject import Findings, Subject

SATURATES = 15.0  # γ from which saturation is to be above the default guidance's


def jobs(settings: EvaluateSettings) -> list[Job]:
    """What the sweep guides is the prompt alone: both halves see the control."""
    s = settings
    ends = [Job("generate", s.control, scale, s.views, s.null_control) for scale in (1.0, s.guidance)]
    return [*ends, *(Job("generate", s.control, scale, s.sweep_views) for scale in (s.guidance, *s.sweep))]


def measure(subject: Subject) -> Findings:
    """colour_accuracy at γ = 1 and at the default γ on all views, from the same noise; saturation and chroma over γ on fewer,
    with the true views' beside them; saturation_gain: at the largest γ from 15 on, less the default γ's."""
    s, views = subject.settings, subject.views
    one, all_of_them, default, *swept = (subject.painter.paint(job) for job in jobs(s))
    found = [answers(subject.classifiers, images, views[: len(images)])["colour_accuracy"] for images in (one, all_of_them)]
    saturations, chromas = [saturation(images) for images in swept], [chroma(images) for images in swept]
    true = views.images[: s.sweep_views]
    figures = {
        "colour_accuracy_unguided": found[0],
        "colour_accuracy": found[1],
        "colour_accuracy_gain": found[1] - found[0],
        "saturation": dict(zip(map(str, s.sweep), saturations, strict=True)),
        "chroma": dict(zip(map(str, s.sweep), chromas, strict=True)),
        "colour_accuracy_of_the_few": {
            str(scale): answers(subject.classifiers, images, views[: len(images)])["colour_accuracy"]
            for scale, images in zip(s.sweep, swept, strict=True)
        },
        "saturation_true": saturation(true),
        "chroma_true": chroma(true),
    }
    if max(s.sweep) >= SATURATES:
        figures["saturation_gain"] = saturations[s.sweep.index(max(s.sweep))] - saturation(default)
    lines = {"generated": saturations, "true": [figures["saturation_true"]] * len(saturations)}
    chart = (list(s.sweep), "guidance scale", "mean saturation", lines)
    return Findings(figures, {"guidance": [list(true[:8]), *(list(images[:8]) for images in swept)]}, {"saturation": chart})


def saturation(images: Tensor) -> float:
    """Mean over pixels of HSV's saturation, (max − min) / max over R, G, B, of images (N, 3, H, W) in [0, 1]; 0 for black."""
    high, low = images.amax(dim=1), images.amin(dim=1)
    return torch.where(high > 0, (high - low) / high.clamp_min(1e-6), torch.zeros_like(high)).mean().item()


def chroma(images: Tensor) -> float:
    """Mean over pixels of max − min over R, G, B: unlike saturation it makes nothing of the hue of dark pixels."""
    return (images.amax(dim=1) - images.amin(dim=1)).mean().item()
