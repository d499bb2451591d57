"""The adaptive mask against algorithm 1 written out, and editors combined."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from qnerf.editors.additions.adaptive_mask import AdaptiveMask, AdaptiveMaskSettings
from qnerf.editors.additions.sdedit import SdeditSettings
from qnerf.editors.combined import Combined
from qnerf.editors.editor import EditorSettings
from qnerf.editors.masactrl import MasaCtrlSettings
from qnerf.editors.plain import PlainEditorSettings
from qnerf.schedules.progressive import ProgressiveSettings
from tests.editors.helpers import (
    OFF,
    STEPS,
    VIEWS,
    clean_of,
    job_of,
    latents,
    noise,
    null_of,
    resumed,
    stepped,
    text_of,
)
from tests.schedules.helpers import edit


def masked(below: int = 700, multiple: float = 2.0, source_line: bool = False, **base: object) -> EditorSettings:
    mask = AdaptiveMaskSettings(name="adaptive_mask", below=below, multiple=multiple, source_line=source_line)
    return PlainEditorSettings.model_validate({"name": "plain", "additions": {"adaptive_mask": mask}, **base})


def uniform(path: str, p: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return (torch.full_like(p, 1 / p.shape[-1]) if path.endswith("attn2") else p), v


def algorithm(multiple: float, scale: float) -> Tensor:
    """Alg. 1 over ControlNet alone, view by view and channel by channel."""
    job = job_of(masked())
    steps, states, null, text = job.steps, job.trajectory.states, null_of(job), text_of(job)
    u = states[-1]
    for k in reversed(range(STEPS)):
        eps = noise(job, u, k, null, True, uniform)
        u = steps.signal[k] * clean_of(job, u, eps, k + 1) + steps.sigma[k] * eps
    z = states[0]
    for k in range(STEPS):
        eps_u = noise(job, u, k, null, True, uniform)
        eps_null, eps = noise(job, z, k, null), noise(job, z, k, job.target.text)
        eps = eps_null + scale * (eps - eps_null)
        clean, clean_u = clean_of(job, z, eps, k), clean_of(job, u, eps_u, k)
        if steps.timesteps[k] < 700:
            clean_src = clean_of(job, states[k], noise(job, states[k], k, text, True), k)
            for v in range(VIEWS):
                d = (clean_src[v] - clean[v]).abs()
                level = multiple * float(torch.quantile(d.flatten(), 0.5 * k / (STEPS - 1)))
                for c in range(4):
                    for y in range(8):
                        for x in range(8):
                            near = d[c, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
                            if not bool((near > level).any()):
                                clean[v, c, y, x] = clean_u[v, c, y, x]
        z, u = stepped(job, clean, eps, k), stepped(job, clean_u, eps_u, k)
    return z


def test_against_the_algorithm_written_out() -> None:
    found = latents(job_of(masked(multiple=1.5, guidance_scale=2.0)))
    torch.testing.assert_close(found, algorithm(1.5, 2.0), rtol=0, atol=2e-6)
    assert (found - latents(job_of(masked(below=0, guidance_scale=2.0)))).abs().max() > 1e-2


def test_an_infinite_threshold_returns_the_reconstruction() -> None:
    """ẑ0 of the auxiliary branch, whatever the editor: what is left of the edit is the noise of the last state."""
    job = job_of(masked(multiple=float("inf")))
    branch, z = job.branch(slice(0, VIEWS)), job.trajectory.states[0]
    step = branch.seen(z, STEPS - 1, branch.rows)
    assert isinstance(job.editor, Combined)
    with torch.no_grad():
        found = job.editor.revise(step, torch.randn_like(z))
        other = job.editor.revise(step, torch.randn_like(z))
    assert torch.equal(found, other)
    mask = job.editor.additions["adaptive_mask"]
    assert isinstance(mask, AdaptiveMask)
    assert torch.equal(found, mask._of_auxiliary(step))


def test_the_source_line_moves_the_source_where_the_edit_happens() -> None:
    """States after a masked step: those of the direct inversion, and √ā (ẑ0_u - ẑ0_src) more where it is edited; read as such by
    the next."""
    job = job_of(masked(source_line=True, multiple=0.0))
    branch, z, k = job.branch(slice(0, VIEWS)), job.trajectory.states[2], 2
    step = branch.seen(z, k, branch.rows)
    assert isinstance(job.editor, Combined)
    mask = job.editor.additions["adaptive_mask"]
    assert isinstance(mask, AdaptiveMask)
    with torch.no_grad():
        job.editor.revise(step, torch.randn_like(z))
    source = clean_of(job, z, noise(job, z, k, text_of(job), True), k)
    auxiliary = mask._of_auxiliary(step)
    expected = job.trajectory.states[k + 1] + job.steps.signal[k + 1] * (auxiliary - source)
    seen = mask.sees(branch.seen(z, k + 1, branch.rows)).source.trajectory.states
    torch.testing.assert_close(seen[k + 1], expected, rtol=0, atol=1e-6)
    assert torch.equal(seen[k], job.trajectory.states[k])
    assert mask.sees(branch.seen(z, k, branch.rows)).source.trajectory is branch.source.trajectory


def test_combined_with_masactrl_chunks_change_nothing_and_a_kill_leaves_no_trace() -> None:
    """MasaCtrl reads the source that the source line has moved: the state of one editor is seen by the other."""
    mask = AdaptiveMaskSettings(name="adaptive_mask", below=900, multiple=1.0, source_line=True)
    both = MasaCtrlSettings(name="masactrl", start=0.0, additions={"adaptive_mask": mask})
    whole = latents(job_of(both))
    torch.testing.assert_close(latents(job_of(both, chunk_size=1)), whole, rtol=0, atol=1e-6)
    assert torch.equal(resumed(both), whole)


def test_no_addition_is_the_editor_itself() -> None:
    plain = MasaCtrlSettings(name="masactrl")
    assert "additions" not in plain.model_dump()
    assert type(job_of(plain).editor).__name__ == "MasaCtrl"


def test_sdedit_starts_from_the_noised_source() -> None:
    """Half of the steps, from √ā z0 + √(1 - ā) ε, whatever the inversion's states are; another ε for each view."""
    editor = PlainEditorSettings(
        name="plain", keep_background=False, additions={"sdedit": SdeditSettings(name="sdedit", strength=0.5)}
    )
    job = job_of(editor)
    job = replace(
        job, trajectory=replace(job.trajectory, states=torch.cat([0 * job.trajectory.states[:-1], job.trajectory.states[-1:]]))
    )
    eps = torch.stack([torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(v * 2**31)) for v in range(VIEWS)]).double()
    z = job.steps.signal[2] * job.trajectory.states[-1] + job.steps.sigma[2] * eps
    for k in range(2, STEPS):
        predicted = noise(job, z, k, job.target.text)
        z = stepped(job, clean_of(job, z, predicted, k), predicted, k)
    torch.testing.assert_close(latents(job), z, rtol=0, atol=1e-6)
    looks_ahead = edit(ProgressiveSettings(name="progressive", interval=2), OFF, job).latents
    torch.testing.assert_close(looks_ahead, z, rtol=0, atol=1e-6)
