"""How well the views come out of their inversion: what no edit can be better than."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from qnerf.common.finite import require_finite
from qnerf.denoising.ddim import Trajectory
from qnerf.denoising.views import chunks
from qnerf.devices import HOST
from qnerf.errors import UserError
from qnerf.metrics.fidelity import psnr
from qnerf.runs.inverting import Branch
from qnerf.runs.work import Workshop, decode
from qnerf.store.entry import Artefact

log = logging.getLogger(__name__)


def reconstruction_psnr(work: Workshop, branch: Branch, trajectory: Trajectory) -> list[float]:
    """Of each view, dB: inverted and denoised without an edit, against the autoencoder's own round trip. Warns of poor ones."""
    work.progress.enter("checking the inversion")
    views, reused = trajectory.states.shape[1], True

    def compute() -> Artefact:
        nonlocal reused
        reused = False
        names = work.scene.view_names
        require_finite(trajectory.states.transpose(0, 1), "the inversion: latents", names)
        round_trip = decode(work, trajectory.states[-1])  # the clean latents: the autoencoder's own loss alone
        rebuilt = decode(work, reconstruct(work, branch, trajectory))
        require_finite(round_trip, "checking the inversion: the autoencoder's round trip", names)
        require_finite(rebuilt, "checking the inversion: reconstructed pictures", names)
        return Artefact(record=[psnr(rebuilt[v : v + 1], round_trip[v : v + 1]) for v in range(views)])

    by_view: list[float] = work.store.once(work.stages.reconstruction(), compute).record
    if reused:
        work.progress.skip("invert", work.settings.inversion.reconstruction_passes(work.settings.steps) * views)
        work.progress.skip("decode", 2 * views)
    _warn_of_poor_inversion(work, by_view)
    return by_view


def reconstruct(work: Workshop, branch: Branch, trajectory: Trajectory) -> Tensor:
    """Latents (N, 4, h, w) denoised from the noisiest state without any edit."""
    parts = []
    for views in chunks(trajectory.states.shape[1], work.settings.chunk_size):
        parts.append(branch(views).reconstruct(trajectory.views(views).to(work.device)).to(HOST))
        work.progress.advance(
            "invert", work.settings.inversion.reconstruction_passes(work.settings.steps) * (views.stop - views.start)
        )
    return torch.cat(parts)


def poor_views(names: Sequence[str], by_view: Sequence[float], least: float) -> list[str]:
    """The views below `least` dB. Raises UserError for a PSNR that is not a number, which is below nothing."""
    if unknown := [name for name, value in zip(names, by_view, strict=True) if not math.isfinite(value)]:
        raise UserError(
            f"inversion: the reconstruction of {', '.join(unknown[:4])} is not finite, expected a finite "
            "PSNR: half precision may overflow, set backbone.dtype=float32"
        )
    return [name for name, value in zip(names, by_view, strict=True) if value < least]


def _warn_of_poor_inversion(work: Workshop, by_view: Sequence[float]) -> None:
    """A warning where a view is reconstructed worse than the inversion's settings allow."""
    least = work.settings.inversion.warn_below_psnr
    poor = poor_views(work.scene.view_names, by_view, least)
    log.info("The inversion reconstructs the views at %.1f dB (worst %.1f dB).", sum(by_view) / len(by_view), min(by_view))
    if poor:
        log.warning(
            "The inversion reconstructs %d of %d views below %.1f dB (worst %.1f dB; %s). Their edits will "
            "be no better.",
            len(poor), len(by_view), least, min(by_view), ", ".join(poor[:4]) + (" …" if len(poor) > 4 else ""),
        )  # fmt: skip
