"""A pass of some of the views that need not lie side by side, for joint editors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from qnerf.attention.hooks import Batch, Edits
from qnerf.backbones.conditioning import Conditioning
from qnerf.denoising.edit import EditBranch


def run_chosen(
    chosen: Sequence[int], k: int, z: Tensor, branches: Callable[[], Iterator[tuple[EditBranch, Tensor]]], edits: Edits
) -> None:
    """One pass of the views `chosen` at step k in all predictions that a step combines, under these edits alone.

    z: (N, 4, h, w), all views. branches: as `Editor.gather` is given them. The rows of each part are in the order of `chosen`.
    """
    parts: dict[str, dict[int, Conditioning]] = {}
    one = next(branches())[0]
    for branch, _ in branches():
        own = [view for view in chosen if branch.views.start <= view < branch.views.stop]
        for name, each in zip(branch.rows, branch.conditionings(k, branch.rows), strict=True):
            for view in own:
                place = view - branch.views.start
                parts.setdefault(name, {})[view] = each.views(slice(place, place + 1))
    rows = [parts[name][view] for name in one.rows for view in chosen]
    conditioning = Conditioning.joined(rows).at(k, len(one.steps))
    with one.backbone.bound(edits, Batch.of(k, one.rows, len(chosen))):
        latents = z[list(chosen)].to(one.backbone.device).repeat(len(one.rows), 1, 1, 1)
        one.backbone.predict(latents, one.steps.timesteps[k], conditioning)
