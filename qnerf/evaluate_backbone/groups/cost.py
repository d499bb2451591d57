"""Size and speed on this machine; measured each time, never stored."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.puppet import PUPPET_FOLDER
from qnerf.evaluate_backbone.jobs import Job
from qnerf.evaluate_backbone.settings import EvaluateSettings
from qnerf.evaluate_backbone.subject import Findings, Subject

VIEWS, TIMES = 12, 5


def jobs(settings: EvaluateSettings) -> list[Job]:
    return []


def measure(subject: Subject) -> Findings:
    """weights_mb: all files of the weights' folder, 10⁶ bytes. load_seconds: once more in this process, without imports.
    forward_seconds: median of five U-Net passes of twelve views without control, and with it."""
    settings, backbone = subject.settings.backbone, subject.painter.backbone
    folder = Path(settings.path) if settings.path else PUPPET_FOLDER
    started = time.perf_counter()
    settings.build(backbone.device)
    loading = time.perf_counter() - started
    shape = (VIEWS, backbone.latent_channels, *backbone.latent_size)
    z = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(backbone.device)
    text = backbone.embed([""]).expand(VIEWS, -1, -1)
    control = torch.zeros((VIEWS, 3, *backbone.image_size), device=backbone.device)
    return Findings({
        "weights_mb": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6,
        "load_seconds": loading,
        "forward_seconds": _median_seconds(lambda: backbone.predict(z, 500, Conditioning.of(text))),
        "forward_with_control_seconds": _median_seconds(lambda: backbone.predict(z, 500, Conditioning.of(text, control))),
        "threads": torch.get_num_threads(),
        "device": str(backbone.device),
    })  # fmt: skip


def _median_seconds(work: Callable[[], Tensor]) -> float:
    def once() -> float:
        started = time.perf_counter()
        with torch.no_grad():
            work().sum().item()  # reading a value waits for the device
        return time.perf_counter() - started

    once()
    return statistics.median(once() for _ in range(TIMES))
