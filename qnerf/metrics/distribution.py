"""FID and KID with the judges' features: how far apart two sets of pictures are, without Inception and without a network.

Their values are comparable with each other alone, under one `features` name, and never with Inception's.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from qnerf.judges.judges import Judges

KID_SUBSETS = 50


class JudgesFeatures(nn.Module):
    """The mean over positions of the judges' coarsest features, (B, num_features), of images (B, 3, S, S) in [0, 1]."""

    def __init__(self, judges: Judges) -> None:
        super().__init__()
        self.judges = judges
        self.num_features = judges.net.num_features
        self.name = f"judges-{judges.revision}"

    def forward(self, images: Tensor) -> Tensor:
        return self.judges.look(images).features


def distances(images: Tensor, reference: Tensor, features: nn.Module) -> dict[str, float]:
    """FID and KID of images (N, 3, H, W) from a reference (M, 3, H, W), both in [0, 1], N and M at least 4.

    fid: |μ − μ*|² + tr(Σ + Σ* − 2 (Σ Σ*)^½) (Heusel et al. 2017). kid: unbiased squared maximum mean discrepancy under the
    kernel (x·y / F + 1)³ (Bińkowski et al. 2018), the mean over 50 subsets of half the pictures, drawn from a fixed seed; it may
    be slightly negative where there is no difference. features: gives (B, F) and has `num_features`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # KID says that it keeps all features, a few hundred rows here
        kid = KernelInceptionDistance(
            feature=features, subsets=KID_SUBSETS, subset_size=min(len(images), len(reference)) // 2, normalize=True
        )
    fid = FrechetInceptionDistance(feature=features, normalize=True)
    for metric in (fid, kid):
        metric.update(reference, real=True)
        metric.update(images, real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {"fid": float(fid.compute()), "kid": float(kid.compute()[0])}
