"""A step back from pictures: the clean views that an edit is heading for become one radiance field and are drawn towards it (ours).

A field of queries makes views agree on geometry; colours and fine detail that they disagree on are only seen in pictures. At state
k the clean latents that the noise ε implies, ẑ0 = (z - σ ε) / √ᾱ, are decoded to images I of all views, a radiance field is trained
on them and renders Î from every view; with E the encoder and m the region that moves, ẑ0 + w m (E(Î) - E(I)) takes ẑ0's place at
the same noise. The difference of two encodings spares what the autoencoder itself loses.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qnerf.fields.rgb_field import train_rgb_field
from qnerf.schedules.consolidate import derive_seed
from qnerf.schedules.job import EditJob
from qnerf.schedules.settings import FeedbackSettings


@torch.no_grad()
def feed_back(job: EditJob, settings: FeedbackSettings, z: Tensor, k: int) -> Tensor:
    """State k of all views (N, 4, h, w), drawn towards what their common radiance field shows."""
    signal, clean = job.steps.alpha_bar[k] ** 0.5, implied_clean(job, z, k)
    images = torch.cat([job.backbone.decode(clean[views]) for views in job.chunks()])
    with torch.enable_grad():
        field = train_rgb_field(
            images, job.cameras, job.space, job.rgb_field, derive_seed(job.seed, f"feedback {k}"),
            on_step=lambda step, total, loss: job.on_work("feedback", 1 / total),
        )  # fmt: skip
    rendered, _ = field.render(job.cameras)
    change = torch.cat([job.backbone.encode(rendered[views]) - job.backbone.encode(images[views]) for views in job.chunks()])
    return z + signal * settings.weight * job.region.moved[:, None] * change


def implied_clean(job: EditJob, z: Tensor, k: int) -> Tensor:
    """ẑ0 of state k, (N, 4, h, w)."""
    clean = []
    for views in job.chunks():
        noise = job.branch(views).noise(z[views], k)
        clean.append((z[views] - job.steps.sigma(k) * noise) / job.steps.alpha_bar[k] ** 0.5)
        job.on_work("unet", len(noise))
    return torch.cat(clean)
