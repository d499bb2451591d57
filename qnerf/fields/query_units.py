"""The units in which a field learns one layer's queries, and the way back (docs/method.md §2.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qnerf.fields.head_init import signed
from qnerf.fields.settings import Normalisation


class QueryUnits(nn.Module):
    """(q - mean) / scale, of which the `components` principal components are kept, if any number is given.

    Mean and scale are one number a layer, or one a channel (`normalisation`); principal components are those of the queries about
    each channel's mean. Both directions are linear, and heads are too, so a field of components is a field of queries of that rank.
    """

    mean: Tensor
    scale: Tensor
    axes: Tensor

    def __init__(self, channels: int, components: int | None) -> None:
        super().__init__()
        self.width = channels if components is None else min(components, channels)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("axes", torch.eye(channels, 0 if components is None else self.width))

    @torch.no_grad()
    def fit(self, queries: Tensor, normalisation: Normalisation) -> None:
        """Measures (..., channels) over everything, where they lie, by channel where the settings say so."""
        flat = queries.flatten(0, -2).float()
        by_channel = normalisation == "channel"
        self.mean.copy_(flat.mean(dim=0) if by_channel or self.axes.numel() else flat.mean())
        self.scale.copy_((flat.std(dim=0) if by_channel else flat.std()).clamp_min(1e-6))
        if self.axes.numel():
            scaled = ((flat - self.mean.to(flat)) / self.scale.to(flat)).double()
            axes = torch.linalg.eigh(scaled.T @ scaled)[1].flip(-1)  # ascending: the last vary most
            self.axes.copy_(signed(axes[:, : self.width]))

    def into(self, queries: Tensor) -> Tensor:
        """(..., channels) queries to (..., width)."""
        scaled = (queries.float() - self.mean) / self.scale
        return scaled @ self.axes if self.axes.numel() else scaled

    def back(self, values: Tensor) -> Tensor:
        """(..., width) to (..., channels), in the queries' own units."""
        scaled = values @ self.axes.T if self.axes.numel() else values
        return scaled * self.scale + self.mean
