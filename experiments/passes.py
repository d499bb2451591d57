"""The pass of the U-Net in which studies of attention look at pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.inversions.study import STEPS
from qnerf.attention.hooks import CONDITIONAL, Batch, Edits
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone


def noised_pass(backbone: DiffusionBackbone, clean: Tensor, text: Tensor, share: float, edits: Edits, seed: int) -> None:
    """One pass under captions, without guidance, on latents that are noised to a share of the
    steps. What is seen is kept by the recorders in `edits`. clean: (V, C, h, w). text: (V, L, C),
    the captions' embeddings."""
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    time = backbone.process.steps(STEPS).time(int(share * STEPS))
    with torch.no_grad(), backbone.bound(edits, Batch.of(0, [CONDITIONAL], len(clean))):
        backbone.predict(backbone.process.noised(clean, noise, time), time, Conditioning.of(text))
