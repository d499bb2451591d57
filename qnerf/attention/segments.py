"""Segments of a picture by its self-attention, and the places of words among them (Ge et al., ICCV 2023; docs/method.md §4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

STARTS, ROUNDS = 100, 300


def spectral_segments(affinity: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(n,), the segment of each of n places: spectral clustering of an affinity (n, n), which is made symmetric.

    The `count` eigenvectors of the normalised Laplacian with the least eigenvalues, over the root of the degrees, by k-means (Shi
    and Malik 2000). Without a place's affinity to itself.
    """
    w = (affinity + affinity.T).double() / 2
    w.fill_diagonal_(0)
    root = w.sum(dim=1).clamp_min(1e-12).sqrt()
    laplacian = torch.eye(len(w), dtype=w.dtype) - w / root[:, None] / root
    _, vectors = torch.linalg.eigh(laplacian)  # eigenvalues ascend
    return k_means(vectors[:, :count] / root[:, None], count, generator)


def k_means(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(n,), the cluster of each of points (n, d): the best of `STARTS` runs of Lloyd's algorithm from k-means++ seeds."""
    best, least = torch.zeros(len(points), dtype=torch.long), float("inf")
    for _ in range(STARTS):
        centres = points[torch.randint(len(points), (1,), generator=generator)]
        while len(centres) < count:
            away = torch.cdist(points, centres).amin(dim=1).square()
            if float(away.sum()) == 0:  # fewer different points than clusters
                break
            centres = torch.cat([centres, points[torch.multinomial(away, 1, generator=generator)]])
        labels = torch.cdist(points, centres).argmin(dim=1)
        for _ in range(ROUNDS):
            kept = [
                points[labels == each].mean(dim=0) if bool((labels == each).any()) else centres[each]
                for each in range(len(centres))
            ]
            centres, before = torch.stack(kept), labels
            labels = torch.cdist(points, centres).argmin(dim=1)
            if torch.equal(labels, before):
                break
        spread = float((points - centres[labels]).square().sum())
        if spread < least:
            best, least = labels, spread
    return best


def region_maps(segments: Tensor, scores: list[Tensor], threshold: float, size: tuple[int, int]) -> Tensor:
    """(R + 1, h, w), the shares of R regions and, last, of the rest; they sum to 1 (to 0 where rounding of the resize leaves none).

    segments: (rows, columns). scores: of each region (rows, columns, tokens), how much its tokens are attended to; each token's is
    scaled to 0 … 1, and a segment is a region's where the mean over it of any token's is above the threshold. A segment may be of
    several regions.
    """
    low, high = ([each.amin(dim=(0, 1)) if least else each.amax(dim=(0, 1)) for each in scores] for least in (True, False))
    scaled = [(x - a) / (b - a).clamp_min(1e-12) for x, a, b in zip(scores, low, high, strict=True)]
    maps = torch.zeros(len(scores) + 1, *segments.shape, dtype=scores[0].dtype)
    for segment in segments.unique():
        inside = segments == segment
        found = [bool((x[inside].mean(dim=0) > threshold).any()) for x in scaled]
        for place in [number for number, is_its in enumerate(found) if is_its] or [len(scores)]:
            maps[place] += inside
    large = F.interpolate(maps[:, None], size, mode="bicubic", antialias=True)[:, 0].clamp(0, 1)
    return large / (large.sum(dim=0) + 1e-8)
