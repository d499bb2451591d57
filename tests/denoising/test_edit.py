"""The edited branch: classifier-free guidance, MasaCtrl against the source trajectory, and its cache."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.attention.edits import InjectKeysValues, RecordKeysValues
from qnerf.attention.hooks import CONDITIONAL, NULL, Batch, Edits, bound
from qnerf.attention.layers import AttentionLayer
from qnerf.backbones.conditioning import Conditioning
from qnerf.denoising.ddim import Trajectory
from qnerf.denoising.edit import EditStep
from qnerf.denoising.source import SourceReader
from qnerf.denoising.source_cache import SourceCache
from qnerf.editors.editor import Editor
from qnerf.editors.masactrl import MasaCtrlSettings
from qnerf.editors.plain import PlainEditorSettings
from qnerf.scenes.region import EditedRegion
from tests.schedules.helpers import BACKBONE, make_job

VIEWS = slice(1, 3)


def test_plain_editor_is_the_backbone_with_the_target_control() -> None:
    job, _ = make_job(editor=PlainEditorSettings(name="plain"))
    z = job.trajectory.states[2, VIEWS]
    expected = BACKBONE.predict(
        z, job.steps.timesteps[2], Conditioning.of(job.target.text[VIEWS], job.target.controls[0].drawing[VIEWS], 1.0)
    )
    assert torch.equal(job.branch(VIEWS).noise(z, 2), expected)


@pytest.mark.parametrize("keys", ["replace", "union"])
def test_each_half_reads_the_same_half_of_the_source(keys: Any) -> None:
    """Against two passes, each with the source's keys and values under the same prompt: null reads null (docs/method.md §4)."""
    job, _ = make_job(editor=MasaCtrlSettings(name="masactrl", guidance_scale=3.0, start=0.0, keys=keys))
    branch, z, t = job.branch(VIEWS), job.trajectory.states[2, VIEWS], job.steps.timesteps[2]
    source = job.source(VIEWS)

    def one(text: Tensor, source_text: Tensor) -> Tensor:
        record, batch = RecordKeysValues(), Batch.of(2, [CONDITIONAL], 2)
        source.noise(job.trajectory.states[2, VIEWS], 2, source_text, Edits.at(BACKBONE.layers[10:], record))
        with bound(BACKBONE.unet, Edits.at(BACKBONE.layers[10:], InjectKeysValues(record.kept, batch, keys == "union")), batch):
            return BACKBONE.predict(z, t, Conditioning.of(text, job.target.controls[0].drawing[VIEWS], 1.0))

    null, conditional = one(source.null_text, source.null_text), one(job.target.text[VIEWS], source.conditioning.text)
    torch.testing.assert_close(branch.noise(z, 2), null + 3.0 * (conditional - null), rtol=0, atol=2e-5)
    other = one(source.null_text, source.conditioning.text)
    assert (null - other).abs().max() > 1e-4, "the halves differ, so that reading the wrong one would show"


def test_control_guidance_against_separate_passes() -> None:
    """ε + (γ - 1)(ε - ε(∅)) + (s - 1)(ε - ε(source control)), each ε by a pass of its own."""
    job, _ = make_job(editor=PlainEditorSettings(name="plain", guidance_scale=3.0, control_guidance=2.5))
    branch, z, t = job.branch(VIEWS), job.trajectory.states[2, VIEWS], job.steps.timesteps[2]
    text, target = job.target.text[VIEWS], job.target.controls[0].drawing[VIEWS]
    full = BACKBONE.predict(z, t, Conditioning.of(text, target, 1.0))
    null = BACKBONE.predict(z, t, Conditioning.of(job.source(VIEWS).null_text, target, 1.0))
    source = BACKBONE.predict(z, t, Conditioning.of(text, branch.source.branch.conditioning.controls[0].drawing, 1.0))
    expected = full + 2.0 * (full - null) + 1.5 * (full - source)
    torch.testing.assert_close(branch.noise(z, 2), expected, rtol=0, atol=5e-5)


def test_the_null_half_reads_optimised_null_prompts_where_there_are_some() -> None:
    job, _ = make_job(editor=PlainEditorSettings(name="plain", guidance_scale=7.5))
    nulls = torch.randn(6, 4, *job.target.text.shape[1:], generator=torch.Generator().manual_seed(6))
    branch = replace(job, trajectory=Trajectory(job.trajectory.states, nulls)).branch(VIEWS)
    z, t = job.trajectory.states[2, VIEWS], job.steps.timesteps[2]
    null, full = (
        BACKBONE.predict(z, t, Conditioning.of(text, branch.conditioning.controls[0].drawing, 1.0))
        for text in (nulls[2, VIEWS], branch.conditioning.text)
    )
    torch.testing.assert_close(branch.noise(z, 2), null + 7.5 * (full - null), rtol=0, atol=5e-5)


def test_masactrl_starts_at_its_step_and_layer() -> None:
    job, _ = make_job(editor=MasaCtrlSettings(name="masactrl", start=0.5, start_layer=12))
    branch, z = job.branch(VIEWS), job.trajectory.states[2, VIEWS]
    assert not job.editor.edits(branch.seen(z, 2, branch.rows))
    assert [layer.index for layer in job.editor.edits(branch.seen(z, 3, branch.rows)).attention] == [12, 13, 14, 15]


def test_source_against_itself_changes_nothing() -> None:
    """Where target and source are the same branch at the same state, mutual self-attention is self-attention."""
    job, _ = make_job(editor=MasaCtrlSettings(name="masactrl", start=0.0))
    source = job.source(VIEWS)
    branch, z = job.branch(VIEWS), job.trajectory.states[1, VIEWS]
    branch = replace(branch, conditioning=source.conditioning)
    torch.testing.assert_close(branch.noise(z, 1), source.noise(z, 1), rtol=0, atol=1e-5)


def test_the_cache_changes_no_result_and_stays_in_its_bounds() -> None:
    z = make_job()[0].trajectory.states[3, VIEWS]
    plain = make_job(source_cache=SourceCache(0.0))[0].branch(VIEWS).noise(z, 3)
    cache = SourceCache(1.0)
    branch = make_job(source_cache=cache)[0].branch(VIEWS)
    assert torch.equal(branch.noise(z, 3), plain)
    key = ((1, 3), 3, (CONDITIONAL,), BACKBONE.layers[10:])
    assert cache.get(key) is not None
    assert torch.equal(branch.noise(z, 3), plain)

    kept = cache.get(key) or {}
    size = sum(x.numel() * 4 for pair in kept.values() for x in pair)
    small = SourceCache(2.5 * size / 2**30)
    for key in ("a", "b"):
        small.put(key, kept)
    assert small.get("a") is kept  # used last
    small.put("c", kept)
    assert [key for key in "abc" if small.get(key) is not None] == ["a", "c"]
    tiny = SourceCache(0.5 * size / 2**30)
    tiny.put("a", kept)
    assert tiny.get("a") is None


def test_the_cache_reuses_the_memory_of_what_goes() -> None:
    """Of the same shape; what was kept of another is given back. The values are those that came last."""
    layer = BACKBONE.layers[10]

    def entry(value: float, tokens: int = 4) -> dict[AttentionLayer, tuple[Tensor, Tensor]]:
        return {layer: (torch.full((1, tokens, 8), value), torch.full((1, tokens, 8), -value))}

    cache = SourceCache(2 * 256 / 2**30)
    for step in range(4):
        cache.put(step, entry(float(step)))
    first, last = (cache.get(step) or {} for step in (2, 3))
    assert cache.get(1) is None
    assert float(last[layer][0].mean()) == 3.0
    assert float(first[layer][1].mean()) == -2.0
    room = first[layer][0].data_ptr()
    cache.put(4, entry(4.0))
    assert (cache.get(4) or {})[layer][0].data_ptr() == room
    cache.put(5, entry(5.0, tokens=5))
    assert (cache.get(5) or {})[layer][0].shape == (1, 5, 8)


def test_the_cache_tells_views_steps_rows_and_layers_apart() -> None:
    """Whatever was read before: each of these differs in one thing from the first."""
    editor = MasaCtrlSettings(name="masactrl", guidance_scale=3.0)
    reads: list[tuple[slice, int, list[str], int]] = [
        (VIEWS, 3, [CONDITIONAL], 10),
        (slice(0, 2), 3, [CONDITIONAL], 10),
        (VIEWS, 2, [CONDITIONAL], 10),
        (VIEWS, 3, [NULL, CONDITIONAL], 10),
        (VIEWS, 3, [CONDITIONAL], 12),
    ]
    cached, plain = (make_job(editor=editor, source_cache=SourceCache(gib))[0] for gib in (1.0, 0.0))
    for views, k, rows, first in reads:
        found, wanted = (job.branch(views).source.keys_values(k, BACKBONE.layers[first:], rows)[0] for job in (cached, plain))
        assert found.keys() == wanted.keys()
        assert all(torch.equal(a, b) for layer in wanted for a, b in zip(found[layer], wanted[layer], strict=True))


class Shifting(Editor):
    """Shifts the predicted clean latents by 1 and what comes of the step by 10."""

    def revise(self, step: EditStep, clean: Tensor) -> Tensor:
        return clean + 1 + 0 * step.z

    def blend(self, step: EditStep, z: Tensor) -> Tensor:
        return z + 10


def test_a_step_by_hand_with_an_editor_that_revises_and_blends() -> None:
    """The noise keeps its place in the step; the editor has the last word, also on the background that is kept."""
    region = torch.zeros(4, 8, 8)
    region[:, :4] = 1
    job = make_job(region=EditedRegion(region, torch.ones(4, 8, 8)))[0]
    branch = replace(job, editor=Shifting(PlainEditorSettings(name="plain"))).branch(VIEWS)
    z, noise, steps = job.trajectory.states[2, VIEWS], torch.full((2, 4, 8, 8), 0.5), job.steps
    clean = (z - steps.sigma[2] * 0.5) / steps.signal[2] + 1
    wanted = steps.signal[3] * clean + steps.sigma[3] * 0.5
    wanted[:, :, 4:] = job.trajectory.states[3, VIEWS, :, 4:]
    torch.testing.assert_close(branch.step(z, noise, 2), wanted + 10)


def test_a_negative_prompt_takes_the_place_of_the_null_prompt_in_edits_alone() -> None:
    job, _ = make_job(steps=3)
    source, negative = job.source(slice(0, 2)), job.backbone.embed(["a red shirt", "a red shirt"])
    steered = replace(source, negative=negative)
    plain, away = (SourceReader(branch, job.trajectory.views(slice(0, 2)), SourceCache(0.0), "x") for branch in (source, steered))
    assert torch.equal(plain.null_text(1), source.null_text)
    assert torch.equal(away.null_text(1), negative)
    assert torch.equal(source.noise(job.trajectory.states[0, :2], 0), steered.noise(job.trajectory.states[0, :2], 0))
    optimised = torch.zeros(3, 4, *negative.shape[1:])
    own = SourceReader(steered, replace(job.trajectory, null_text=optimised).views(slice(0, 2)), SourceCache(0.0), "x")
    assert torch.equal(own.null_text(1), optimised[1, :2]), "an optimised one comes first"
