"""Feedback from pictures: one radiance field is trained on the predicted clean views, and these are pulled
towards it (ours).

A query field makes views agree on geometry. Differences in colour and fine detail are only seen in
pictures. At state k the clean latents that the noise ε implies, ẑ0 = (z - σ ε) / √ᾱ, are
decoded to images I of all views, a radiance field is trained on them and renders Î from every view,
near the region m that moves; with E the encoder, ẑ0 + w m (E(Î) - E(I)) replaces ẑ0 at the same
noise. The difference of two encodings spares what the autoencoder itself loses.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.consolidation.consolidate import derive_seed
from qnerf.consolidation.job import EditJob
from qnerf.consolidation.phases import gather
from qnerf.fields.rgb_field import RgbField, train_rgb_field

ENCODER_REACH = 2
"""Latents beyond which a pixel hardly matters to an encoded latent."""


@torch.no_grad()
def feed_back(job: EditJob, weight: float, z: Tensor, k: int) -> Tensor:
    """State k of all views (N, 4, h, w), drawn towards what their common radiance field shows, where z
    lies. Its passes are no steps: the editor's state is as before."""
    state = job.editor_state()
    signal, clean = job.steps.signal[k], implied_clean(job, z, k)
    images = torch.cat([job.backbone.decode(clean[views].to(job.device)).to(z.device) for views in job.chunks()])
    with torch.enable_grad():
        field = train_rgb_field(
            images, job.cameras, job.space, job.rgb_field, derive_seed(job.seed, f"feedback {k}"),
            on_step=lambda step, total, loss: job.trained("feedback", 1 / total, loss),
        )  # fmt: skip
    change = torch.cat([_change(job, field, images[views], views).to(z.device) for views in job.chunks()])
    job.restore_editor(state)
    watch, z = job.watch("step back from pictures in the"), z + signal * weight * job.region.moved[:, None].to(z.device) * change
    watch.see(z.to(job.device), k)
    watch.check()
    return z


def _change(job: EditJob, field: RgbField, images: Tensor, views: slice) -> Tensor:
    """E(Î) - E(I) of a chunk of views, (V, 4, h, w), on the device. Î is only rendered where it counts,
    and is I elsewhere."""
    images, near = images.to(job.device), near_moved_pixels(job, views)
    rendered, _ = field.render(job.cameras[views], near)
    return job.backbone.encode(torch.where(near[:, None], rendered, images)) - job.backbone.encode(images)


def near_moved_pixels(job: EditJob, views: slice) -> Tensor:
    """The pixels (V, H, W), bool, of the latents that move and of those up to `ENCODER_REACH` beside
    them."""
    grown = F.max_pool2d(job.region.moved[views][:, None], 2 * ENCODER_REACH + 1, stride=1, padding=ENCODER_REACH)
    return F.interpolate(grown, size=job.backbone.image_size)[:, 0] > 0


def implied_clean(job: EditJob, z: Tensor, k: int) -> Tensor:
    """ẑ0 of state k, (N, 4, h, w)."""
    gather(job, z, k)
    clean = []
    for views in job.chunks():
        part = z[views].to(job.device)
        noise = job.branch(views).noise(part, k)
        clean.append(job.steps.clean(part, noise, k).to(z.device))
        job.on_work("unet", len(noise))
    return torch.cat(clean)
