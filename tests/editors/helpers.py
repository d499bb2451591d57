"""A small edit in double precision, and passes in which every attention map is written out, without the hooks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.words import Prompts
from qnerf.consolidation.job import EditJob
from qnerf.consolidation.phases import plain_steps
from qnerf.editors.combined import build_editor
from qnerf.editors.editor import EditorSettings
from qnerf.guidance.off import OffSettings
from qnerf.schedules.independent import IndependentSettings
from tests.schedules.helpers import edit, in_precision, make_job

SOURCE, TARGET = "a figure in a red shirt", "a figure in a blue shirt"
STEPS, VIEWS = 4, 2
OFF, INDEPENDENT = OffSettings(name="off"), IndependentSettings(name="independent")
Change = Callable[[str, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(path, p, q, k, v) to the maps and values that are used; p (B, heads, n, m), all else (B, heads, tokens, d)."""


@cache
def double() -> DiffusionBackbone:
    return in_precision(torch.float64)


@cache
def _job() -> EditJob:
    job, _ = make_job(steps=STEPS, views=VIEWS, backbone=double())
    text = double().embed([TARGET] * VIEWS)
    source = double().embed([SOURCE] * VIEWS)
    kept = job.source

    def branch(views: slice) -> Any:
        found = kept(views)
        return replace(found, conditioning=replace(found.conditioning, text=source[views]))

    states = torch.randn(STEPS + 1, VIEWS, 4, 8, 8, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    trajectory = replace(job.trajectory, states=job.trajectory.states.double() + 0.3 * states)
    return replace(job, target=replace(job.target, text=text), source=branch, trajectory=trajectory)


def job_of(editor: EditorSettings, chunk_size: int = VIEWS, source: str = SOURCE, target: str = TARGET, **changes: Any) -> EditJob:
    """The edit by an editor, of two random views whose inversion is no more than plausible."""
    job = replace(_job(), editor=build_editor(editor), guidance_scale=editor.guidance_scale or 1.0, chunk_size=chunk_size)
    job = replace(job, **{"prompts": (Prompts(source, target),) * VIEWS, **changes})
    if target != TARGET:
        job = replace(job, target=replace(job.target, text=double().embed([target] * VIEWS)))
    return job


def latents(job: EditJob) -> Tensor:
    return edit(INDEPENDENT, OFF, job).latents


def resumed(editor: EditorSettings, at: int = 2) -> Tensor:
    """The edit, killed at a state and gone on with by another editor object, as in another process."""
    first, second = job_of(editor), job_of(editor)
    z, _ = plain_steps(first, first.trajectory.states[0], 0, at)
    second.restore_editor(first.editor_state())
    return plain_steps(second, z, at, STEPS)[0]


def noise(job: EditJob, z: Tensor, k: int, text: Tensor, source_control: bool = False, change: Change | None = None) -> Tensor:
    """ε of one prompt for all views, by a pass of its own with explicit maps."""
    every = slice(0, VIEWS)
    controls = job.source(every).conditioning.controls if source_control else job.target.controls
    with torch.no_grad(), explicit(change):
        return double().predict(z, job.steps.timesteps[k], Conditioning(text, controls)).double()


def null_of(job: EditJob) -> Tensor:
    return job.source(slice(0, VIEWS)).null_text


def text_of(job: EditJob) -> Tensor:
    return job.source(slice(0, VIEWS)).conditioning.text


def stepped(job: EditJob, clean: Tensor, eps: Tensor, k: int) -> Tensor:
    return job.steps.signal[k + 1] * clean + job.steps.sigma[k + 1] * eps


def clean_of(job: EditJob, z: Tensor, eps: Tensor, k: int) -> Tensor:
    return (z - job.steps.sigma[k] * eps) / job.steps.signal[k]


class Explicit:
    """An attention processor that computes its maps in the open."""

    def __init__(self, path: str, change: Change | None) -> None:
        self.path, self.change = path, change

    def __call__(self, attn: Any, x: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any) -> Tensor:
        context = x if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (
            part.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in (attn.to_q(x), attn.to_k(context), attn.to_v(context))
        )
        p = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        if self.change is not None:
            p, v = self.change(self.path, p, q, k, v)
        return attn.to_out[0]((p @ v).transpose(1, 2).flatten(-2))


@contextmanager
def explicit(change: Change | None) -> Any:
    """The U-Net, not the ControlNet, with explicit maps in all layers, changed by `change`."""
    unet = double().unet
    modules = {layer.path: unet.get_submodule(layer.path) for layer in (*double().layers, *double().cross_attention_layers)}
    before = {path: module.processor for path, module in modules.items()}
    try:
        for path, module in modules.items():
            module.processor = Explicit(path, change)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
        yield
    finally:
        for path, module in modules.items():
            module.processor = before[path]  # pyright: ignore[reportAttributeAccessIssue]


def maps_of(job: EditJob, z: Tensor, k: int, text: Tensor, source_control: bool = True) -> dict[str, Tensor]:
    """Every layer's map in a pass, (V, heads, n, m)."""
    found = {}

    def keep(path: str, p: Tensor, q: Tensor, key: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        found[path] = p
        return p, v

    noise(job, z, k, text, source_control, keep)
    return found
