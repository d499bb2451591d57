"""How well the views come out of their inversion: what no edit can be better than."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from qnerf.common.finite import require_finite
from qnerf.denoising.views import chunks
from qnerf.devices import HOST
from qnerf.errors import UserError
from qnerf.metrics.fidelity import psnr
from qnerf.runs.inverting import Inverted
from qnerf.runs.pictures import decode
from qnerf.runs.progress import Progress
from qnerf.runs.work import ALONE, Workshop
from qnerf.store.entry import Artefact

log = logging.getLogger(__name__)


def reconstruction_psnr(inverted: Inverted, work: Workshop = ALONE) -> dict[str, float]:
    """PSNR of each view by its name, dB: inverted and denoised without an edit, against the autoencoder's own round trip.

    No edit can be better than that. Logs a warning where a view is below `settings.inversion.warn_below_psnr`. work: a run's store
    and progress; by default nothing is kept. Raises UserError where latents or pictures are not finite.
    """
    work.progress.enter("checking the inversion")
    settings, names, states = inverted.settings, inverted.view_names, inverted.trajectory.states
    dtype = inverted.backbone.dtype

    def decoded(latents: Tensor) -> Tensor:
        return decode(inverted.backbone, latents, settings.chunk_size, work.progress)

    def compute() -> Artefact:
        require_finite(states.transpose(0, 1), "the inversion: latents", names)
        round_trip = decoded(inverted.latents)  # the clean latents: the autoencoder's own loss alone
        rebuilt = decoded(reconstruct(inverted, work.progress))
        require_finite(round_trip, "checking the inversion: the autoencoder's round trip", names, dtype=dtype)
        require_finite(rebuilt, "checking the inversion: reconstructed pictures", names, dtype=dtype)
        return Artefact(record=[psnr(rebuilt[v : v + 1], round_trip[v : v + 1]) for v in range(len(names))])

    passes = settings.inversion.reconstruction_passes(settings.steps)
    with work.progress.expecting({"invert": passes * len(names), "decode": 2 * len(names)}):
        by_view: list[float] = work.once(lambda stages: stages.reconstruction(), compute).record
    _warn_of_poor_inversion(names, by_view, settings.inversion.warn_below_psnr)
    return dict(zip(names, by_view, strict=True))


def reconstruct(inverted: Inverted, progress: Progress) -> Tensor:
    """Latents (N, 4, h, w) denoised from the noisiest state without any edit, in the host's memory."""
    settings, trajectory, parts = inverted.settings, inverted.trajectory, []
    passes = settings.inversion.reconstruction_passes(settings.steps)
    for views in chunks(len(inverted.view_names), settings.chunk_size):
        parts.append(inverted.branch(views).reconstruct(trajectory.views(views).to(inverted.backbone.device)).to(HOST))
        progress.advance("invert", passes * (views.stop - views.start))
    return torch.cat(parts)


def poor_views(names: Sequence[str], by_view: Sequence[float], least: float) -> list[str]:
    """The views below `least` dB. Raises UserError for a PSNR that is not a number, which is below nothing."""
    if unknown := [name for name, value in zip(names, by_view, strict=True) if not math.isfinite(value)]:
        raise UserError(
            f"inversion: the reconstruction of {', '.join(unknown[:4])} is not finite, expected a finite "
            "PSNR: half precision may overflow, set backbone.dtype=float32"
        )
    return [name for name, value in zip(names, by_view, strict=True) if value < least]


def _warn_of_poor_inversion(names: Sequence[str], by_view: Sequence[float], least: float) -> None:
    """A warning where a view is reconstructed worse than `least` dB."""
    poor = poor_views(names, by_view, least)
    log.info("The inversion reconstructs the views at %.1f dB (worst %.1f dB).", sum(by_view) / len(by_view), min(by_view))
    if poor:
        log.warning(
            "The inversion reconstructs %d of %d views below %.1f dB (worst %.1f dB; %s). Their edits will "
            "be no better.",
            len(poor), len(by_view), least, min(by_view), ", ".join(poor[:4]) + (" …" if len(poor) > 4 else ""),
        )  # fmt: skip
