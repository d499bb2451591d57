"""A job of one view alone: what an edit of this view would be if there were no others."""

from __future__ import annotations

from dataclasses import replace

from qnerf.consolidation.job import EditJob, Posed
from qnerf.denoising.edit import unseen
from qnerf.denoising.source import SourceBranch
from qnerf.denoising.source_cache import SourceCache


def one_view(job: EditJob, view: int) -> EditJob:
    """The job of this view, whose number in it is 0; nothing is read from the cache of all."""
    own = slice(view, view + 1)

    def source(_: slice) -> SourceBranch:
        return job.source(own)

    return replace(
        job,
        trajectory=job.trajectory.views(own),
        source=source,
        target=job.target.views(own),
        region=job.region.views(own),
        cameras=job.cameras[own],
        oracle=None,
        posed=None if job.posed is None else _posed(job.posed, own),
        target_depth=None if job.target_depth is None else job.target_depth[own],
        source_cache=SourceCache(),
        view_names=job.view_names[own],
        prompts=job.prompts[own],
        on_clean=unseen,
        on_disagreement=None,
    )


def _posed(posed: Posed, own: slice) -> Posed:
    trajectory, branch = posed.trajectory, posed.branch
    return Posed(
        posed.images[own],
        posed.trust[own],
        posed.changed[own],
        posed.moved[own],
        None if trajectory is None else trajectory.views(own),
        None if branch is None else lambda _: branch(own),
    )
