"""The stage before the edit: source views are inverted to noise."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from qnerf.backbones.conditioning import Conditioning
from qnerf.common.finite import require_finite
from qnerf.denoising.ddim import Trajectory
from qnerf.denoising.source import SourceBranch
from qnerf.denoising.views import invert_views
from qnerf.runs.work import Workshop, encode
from qnerf.store.entry import Artefact
from qnerf.store.key import Key

Branch = Callable[[slice], SourceBranch]


def source_branch(work: Workshop, prompt: str, control: Tensor) -> Branch:
    """The inversion's predictor of some of the views, under a prompt and a control (N, 3, H, W)."""
    null_text = work.text("")
    inversion = work.settings.inversion.build()
    conditioning = Conditioning.of(work.text(prompt), control, work.settings.control.scale)

    def branch(views: slice) -> SourceBranch:
        return SourceBranch(
            backbone=work.backbone,
            steps=work.steps,
            inversion=inversion,
            conditioning=conditioning.views(views),
            null_text=null_text[views],
            view_names=work.scene.view_names[views],
        )

    return branch


def invert(work: Workshop, key: Key, branch: Branch, images: Tensor) -> Trajectory:
    """The trajectory of images (N, 3, H, W), in the host's memory, inverted once for all runs that share its key."""
    passes = work.settings.inversion.passes(work.settings.steps)
    done = [0]

    def report(views: int) -> None:
        work.progress.advance("invert", passes * (views - done[0]))
        done[0] = views

    def compute() -> Artefact:
        clean = encode(work, images)
        require_finite(clean, "encoding the views: latents", work.scene.view_names)
        trajectory = invert_views(branch, clean, work.settings.chunk_size, report)
        null = {} if trajectory.null_text is None else {"null_text": trajectory.null_text}
        return Artefact({"states": trajectory.states, **null})

    found = work.store.once(key, compute).tensors
    if not done[0]:
        work.progress.skip("invert", passes * len(images))
        work.progress.skip("encode", len(images))
    return Trajectory(found["states"], found.get("null_text"))
