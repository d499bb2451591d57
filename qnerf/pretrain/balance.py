"""Small parts weigh more in the loss than their area: ears have a hundredth of a picture and are named as often as floors.

The weights are the median frequency balancing of Eigen and Fergus, "Predicting depth, surface normals and semantic labels with a
common multi-scale architecture" (ICCV 2015), within one picture and with an exponent between 0 (none) and 1 (all parts alike).
"""

from __future__ import annotations

import torch
from torch import Tensor

from qnerf.classifiers.labels import UNSURE

REFERENCE = 0.25  # share of the picture above which a part's cells weigh 1
LARGEST = 4.0  # a part of a single cell is noise


def balance_weights(parts: Tensor, exponent: float) -> Tensor:
    """Weights (B, s, s) of mean 1 in each picture. parts: (B, s, s) part maps.

    A cell of a part with the share a of its picture has clamp((REFERENCE / a)^exponent, 1, LARGEST); then all are divided by
    their mean.
    """
    cells = parts.flatten(1).long()
    counts = torch.zeros((len(cells), UNSURE + 1)).scatter_add_(1, cells, torch.ones(cells.shape))
    share = counts.gather(1, cells) / cells.shape[1]
    weights = torch.where(cells == UNSURE, 1.0, (REFERENCE / share).pow(exponent).clamp(1.0, LARGEST))
    return (weights / weights.mean(dim=1, keepdim=True)).reshape(parts.shape)
