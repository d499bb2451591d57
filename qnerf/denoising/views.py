"""All views, chunk by chunk: chunks limit memory and change results by rounding only."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from qnerf.denoising.ddim import Trajectory
from qnerf.denoising.source import SourceBranch
from qnerf.devices import HOST


def chunks(views: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` views that cover `views` views in order."""
    for start in range(0, views, size):
        yield slice(start, min(start + size, views))


def invert_views(
    branch: Callable[[slice], SourceBranch], clean: torch.Tensor, chunk_size: int, on_chunk: Callable[[int], None]
) -> Trajectory:
    """Invert clean latents (N, 4, h, w) of all views. branch: the source predictor of a slice of the
    views, on its own device.

    The trajectory lies in the host's memory: of all views and steps it is large, and only a chunk's is
    needed at a time.

    on_chunk: called with the number of views that are done. A joint inversion takes all views in one
    chunk.
    """
    joint = branch(slice(0, 1)).inversion.joint
    parts = []
    for views in chunks(len(clean), len(clean) if joint else chunk_size):
        parts.append(branch(views).invert(clean[views]).to(HOST))
        on_chunk(views.stop)
    return Trajectory.joined(parts)
