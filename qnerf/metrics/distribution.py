"""FID and KID with the classifiers' features: how far apart two sets of pictures are, without Inception and without a network.

Their values are comparable with each other alone, under one `features` name, and never with Inception's.
"""

from __future__ import annotations

from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from qnerf.classifiers.classifiers import Classifiers
from qnerf.common.finite import require_finite


class ClassifierFeatures(nn.Module):
    """The mean over positions of the classifiers' coarsest features, (B, num_features), of images (B, 3, S, S) in [0, 1]."""

    def __init__(self, classifiers: Classifiers) -> None:
        super().__init__()
        self.classifiers = classifiers
        self.num_features = classifiers.net.num_features
        self.name = f"classifiers-{classifiers.revision}"

    def forward(self, images: Tensor) -> Tensor:
        return self.classifiers.look(images).features


def distances(images: Tensor, reference: Tensor, features: nn.Module) -> dict[str, float]:
    """FID and KID of images (N, 3, H, W) from a reference (M, 3, H, W), both in [0, 1], N and M at least 2.

    fid: |μ − μ*|² + tr(Σ + Σ* − 2 (Σ Σ*)^½) (Heusel et al. 2017). kid: `squared_mmd` of all pictures; it may be slightly negative
    where there is no difference. features: gives (B, F) and has `num_features`. Raises UserError for pictures with NaN.
    """
    for pictures, what in ((images, "pictures"), (reference, "reference pictures")):
        require_finite(pictures, f"FID and KID: {what}", [f"picture {i}" for i in range(len(pictures))])
    fid = FrechetInceptionDistance(feature=features, normalize=True)
    fid.update(reference, real=True)
    fid.update(images, real=False)
    return {"fid": float(fid.compute()), "kid": squared_mmd(features(images), features(reference))}


def squared_mmd(first: Tensor, second: Tensor) -> float:
    """The unbiased estimate of the squared maximum mean discrepancy between features (N, F) and (M, F), N and M at
    least 2, under the kernel k(x, y) = (x·y / F + 1)³ (Gretton et al. 2012, eq. 3; Bińkowski et al. 2018):

        1 / (N (N - 1)) Σ_{i ≠ j} k(x_i, x_j) + 1 / (M (M - 1)) Σ_{i ≠ j} k(y_i, y_j) - 2 / (N M) Σ_{i, j} k(x_i, y_j)

    Of all features at once, and in float64: means over random subsets, which save memory with 50,000 pictures, are
    mostly noise with a few hundred.
    """
    x, y = first.double().cpu(), second.double().cpu()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> Tensor:
        values = kernel(a, a)
        return (values.sum() - values.trace()) / (len(a) * (len(a) - 1))

    return (within(x) + within(y) - 2 * kernel(x, y).mean()).item()
