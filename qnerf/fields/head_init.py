"""A start for the heads: the principal components of the queries themselves (ours).

Random heads make the first steps a search for a basis while the density waits. Queries of all layers, brought to one resolution and
concatenated, have principal directions V and standard deviations s: heads W = V diag(s), b = channel means, let a hidden feature of
unit variance per component reproduce the queries as well as any linear map of this width can.
"""

from __future__ import annotations

import torch
from torch import Tensor

POWER_STEPS = 4


def principal_heads(maps: list[Tensor], width: int, generator: torch.Generator) -> tuple[list[Tensor], list[Tensor]]:
    """maps: per resolution (V, rows, columns, C_g). Returns weights (C_g, width) and biases (C_g,), one pair per resolution.

    Coarser maps are repeated to the finest one's tokens. Subspace iteration (Halko et al. 2011, alg. 4.4) finds the components.
    """
    rows, columns = max(m.shape[1] for m in maps), max(m.shape[2] for m in maps)
    tokens = torch.cat([_repeat(m, rows, columns).flatten(0, 2) for m in maps], dim=-1)
    mean = tokens.mean(dim=0)
    tokens = tokens - mean
    basis = torch.randn(tokens.shape[1], width, generator=generator).to(tokens)
    for _ in range(POWER_STEPS):
        basis = torch.linalg.qr(tokens.T @ (tokens @ basis))[0]
    if basis.shape[1] < width:
        basis = torch.nn.functional.pad(basis, (0, width - basis.shape[1]))
    rotated = torch.linalg.svd(tokens @ basis, full_matrices=False)
    deviation = rotated.S / len(tokens) ** 0.5
    weight = signed(basis @ rotated.Vh.T) * deviation
    sizes = [m.shape[-1] for m in maps]
    return list(weight.split(sizes)), list(mean.split(sizes))


def signed(axes: Tensor) -> Tensor:
    """Axes, the columns of (C, K), each turned so that its largest entry is positive: whether v or -v is found is left to rounding,
    and a field that starts from the other one ends elsewhere."""
    peak = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    return torch.where(peak < 0, -axes, axes)


def _repeat(value: Tensor, rows: int, columns: int) -> Tensor:
    """Nearest-neighbour enlargement of (V, r, c, C) to (V, rows, columns, C)."""
    channels_first = value.permute(0, 3, 1, 2)
    return torch.nn.functional.interpolate(channels_first, size=(rows, columns), mode="nearest").permute(0, 2, 3, 1)
