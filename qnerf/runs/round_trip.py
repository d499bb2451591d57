"""What the autoencoder alone leaves of the object: no edit that is decoded can be more like the truth."""

from __future__ import annotations

import logging

import torch.nn.functional as F
from torch import Tensor

from qnerf.common.finite import require_finite
from qnerf.metrics.fidelity import psnr
from qnerf.runs.inverting import Inverted
from qnerf.runs.pictures import decode, encode
from qnerf.runs.work import ALONE, Workshop
from qnerf.store.entry import Artefact

log = logging.getLogger(__name__)


def round_trip_psnr(inverted: Inverted, work: Workshop = ALONE) -> dict[str, float]:
    """PSNR of pictures that are encoded and decoded, and nothing else, by the name of the figure, dB (docs/metrics.md).

    `round_trip_psnr_object`: of the source views, where the proxy is before or after the edit. `psnr_object_ceiling` and
    `psnr_moved_ceiling`: of the true edited views, where `psnr_object` and `psnr_moved` are measured; only for a scene that has
    them. work: a run's store and progress; by default nothing is kept. Raises UserError where pictures are not finite.
    """
    work.progress.enter("checking the autoencoder")
    scene, truth = inverted.scene, inverted.scene.truth

    def compute() -> Artefact:
        region = inverted.controls.region.object[:, None]
        inside = F.interpolate(region, scene.images.shape[-2:])[:, 0] > 0
        decoded = _decoded(inverted, inverted.latents, work)
        found = {"round_trip_psnr_object": psnr(decoded, scene.images, inside.to(scene.images.device))}
        if truth is not None:
            latents = encode(inverted.backbone, truth.edited_images, inverted.settings.chunk_size, work.progress)
            images = _decoded(inverted, latents, work)
            touched = truth.silhouette_source | truth.silhouette_edited
            found["psnr_object_ceiling"] = psnr(images, truth.edited_images, touched)
            found["psnr_moved_ceiling"] = psnr(images, truth.edited_images, truth.moved_edited)
        return Artefact(record=found)

    sets = 1 if truth is None else 2
    with work.progress.expecting({"encode": (sets - 1) * len(scene.images), "decode": sets * len(scene.images)}):
        figures: dict[str, float] = work.once(lambda stages: stages.round_trip(), compute).record
    ceiling = figures.get("psnr_object_ceiling", figures["round_trip_psnr_object"])
    log.info("The autoencoder alone leaves %.1f dB of the object.", ceiling)
    return figures


def _decoded(inverted: Inverted, latents: Tensor, work: Workshop) -> Tensor:
    images = decode(inverted.backbone, latents, inverted.settings.chunk_size, work.progress)
    require_finite(images, "checking the autoencoder: decoded pictures", inverted.view_names, dtype=inverted.backbone.dtype)
    return images.to(inverted.scene.images.device)
