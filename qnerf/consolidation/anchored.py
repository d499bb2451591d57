"""All views as one edited view shows them: it is carried to the others, and they are noised (docs/method.md §5.5)."""

from __future__ import annotations

import torch
from torch import Tensor

from qnerf.consolidation.carried import carry
from qnerf.consolidation.job import EditJob
from qnerf.consolidation.one_view import one_view
from qnerf.consolidation.phases import plain_steps
from qnerf.denoising.noised import noised_states
from qnerf.errors import UserError

TOLERANCE = 0.03
"""Relative difference in depth up to which the anchor shows a point."""


def anchored_latents(job: EditJob, state: int, key: str, anchor: int | None = None, tolerance: float = TOLERANCE) -> Tensor:
    """All views (N, 4, h, w) at `state`: the anchor is edited by itself, carried to the others by what bounds the edited object,
    encoded and noised. Where it does not show what a view sees, and beside the object, that view is the source's picture. The
    editor is at its beginning afterwards.

    key: the setting that asks for it, for errors. anchor: the view's number; None: the one in whose region most may move. Raises
    UserError where there is no such view, or no proxy.
    """
    depth, anchor = _depth(job, key), anchor_of(job, anchor)
    alone = one_view(job, anchor)
    job.editor.restore({})
    edited = plain_steps(alone, alone.trajectory.states[0], 0, len(job.steps))[0]
    with torch.no_grad():
        picture = job.backbone.decode(edited.to(job.device))[0]
        pictures, where = carry(picture, depth, job.cameras, anchor, tolerance)
        clean = []
        for views in job.chunks():
            source = job.backbone.decode(job.trajectory.states[-1][views].to(job.device))
            start = torch.where(where[views] > 0, pictures[views], source)
            clean.append(job.backbone.encode(start).to(edited))
    job.editor.restore({})
    return noised_states(torch.cat(clean), job.steps, job.seed, 0)[state]


def anchor_of(job: EditJob, number: int | None) -> int:
    """The view that is edited first. Raises UserError where there is none of this number."""
    if number is None:
        return int(job.region.moved.flatten(1).sum(dim=1).argmax())
    if number >= job.views:
        raise UserError(
            f"schedule.anchor: got {number}, but there are {job.views} views; expected a number from 0 to {job.views - 1}, or null"
        )
    return number


def _depth(job: EditJob, key: str) -> Tensor:
    if job.target_depth is None:
        raise UserError(
            f"{key}=anchor_warp: the scene has no proxy.json, by whose bounds a view is carried to the others; give one with "
            "scene.proxy=…"
        )
    return job.target_depth
