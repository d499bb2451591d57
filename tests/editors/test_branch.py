"""The edited branch: classifier-free guidance, MasaCtrl against the source trajectory, and its cache."""

import torch
from torch import Tensor

from qnerf.attention.edits import attention_edits
from qnerf.attention.layers import AttentionLayer, self_attention_layers
from qnerf.editors.settings import MasaCtrlSettings, PlainEditorSettings
from qnerf.denoising.source_cache import SourceCache
from qnerf.inversions.ddim import Trajectory
from tests.schedules.helpers import BACKBONE, make_job

VIEWS = slice(1, 3)


def test_plain_editor_is_the_backbone_with_the_target_control() -> None:
    job, _ = make_job(editor=PlainEditorSettings(name="plain"))
    z = job.trajectory.states[2, VIEWS]
    expected = BACKBONE.predict(z, job.steps.timesteps[2], job.text_target[VIEWS], job.control_target[VIEWS], 1.0)
    assert torch.equal(job.branch(VIEWS).noise(z, 2), expected)


def test_guidance_scale_against_two_separate_passes() -> None:
    job, _ = make_job(editor=MasaCtrlSettings(name="masactrl", guidance_scale=3.0, start=0.0))
    branch, z = job.branch(VIEWS), job.trajectory.states[2, VIEWS]

    def one(text: torch.Tensor) -> torch.Tensor:
        with attention_edits(BACKBONE.unet, branch.masactrl_edits(2)):
            return BACKBONE.predict(z, job.steps.timesteps[2], text, job.control_target[VIEWS], 1.0)

    null, conditional = one(job.null_text[VIEWS]), one(job.text_target[VIEWS])
    torch.testing.assert_close(branch.noise(z, 2), null + 3.0 * (conditional - null), rtol=0, atol=2e-5)


def test_control_guidance_against_separate_passes() -> None:
    """ε + (γ - 1)(ε - ε(∅)) + (s - 1)(ε - ε(source control)), each ε by a pass of its own."""
    job, _ = make_job(editor=PlainEditorSettings(name="plain", guidance_scale=3.0, control_guidance=2.5))
    branch, z, t = job.branch(VIEWS), job.trajectory.states[2, VIEWS], job.steps.timesteps[2]
    text, target = job.text_target[VIEWS], job.control_target[VIEWS]
    full = BACKBONE.predict(z, t, text, target, 1.0)
    null = BACKBONE.predict(z, t, job.null_text[VIEWS], target, 1.0)
    source = BACKBONE.predict(z, t, text, branch.source.control, 1.0)
    expected = full + 2.0 * (full - null) + 1.5 * (full - source)
    torch.testing.assert_close(branch.noise(z, 2), expected, rtol=0, atol=5e-5)


def test_optimised_null_prompts_bring_their_scale() -> None:
    job, _ = make_job()
    branch = job.branch(VIEWS)
    nulls = job.null_text[VIEWS].expand(6, -1, -1, -1)
    object.__setattr__(branch, "trajectory", Trajectory(branch.trajectory.states, nulls))
    object.__setattr__(branch.source, "settings", branch.source.settings.model_copy(update={"guidance_scale": 7.5}))
    assert branch.guidance_scale == 7.5
    assert branch.conditional_part == slice(-2, None)


def test_masactrl_starts_at_its_step_and_layer() -> None:
    job, _ = make_job(editor=MasaCtrlSettings(name="masactrl", start=0.5, start_layer=12))
    branch = job.branch(VIEWS)
    assert branch.masactrl_edits(2) == {}
    assert [layer.index for layer in branch.masactrl_edits(3)] == [12, 13, 14, 15]


def test_source_against_itself_changes_nothing() -> None:
    """Where target and source are the same branch at the same state, mutual self-attention is self-attention."""
    job, _ = make_job(editor=MasaCtrlSettings(name="masactrl", start=0.0))
    source = job.source(VIEWS)
    branch, z = job.branch(VIEWS), job.trajectory.states[1, VIEWS]
    object.__setattr__(branch, "control", source.control)
    object.__setattr__(branch, "text", source.text)
    torch.testing.assert_close(branch.noise(z, 1), source.noise(z, 1), rtol=0, atol=1e-5)


def test_the_cache_changes_no_result_and_stays_in_its_bounds() -> None:
    z = make_job()[0].trajectory.states[3, VIEWS]
    plain = make_job(source_cache=SourceCache(0.0))[0].branch(VIEWS).noise(z, 3)
    cache = SourceCache(1.0)
    branch = make_job(source_cache=cache)[0].branch(VIEWS)
    assert torch.equal(branch.noise(z, 3), plain)
    assert cache.get(((1, 3), 3)) is not None
    assert torch.equal(branch.noise(z, 3), plain)

    kept = cache.get(((1, 3), 3)) or {}
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


def test_layers_are_counted_as_in_sd() -> None:
    assert len(self_attention_layers(BACKBONE.unet)) == 16


def test_the_cache_reuses_the_memory_of_what_goes() -> None:
    """Of the same shape; what was kept of another is given back. The values are those that came last."""
    layer = self_attention_layers(BACKBONE.unet)[10]

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
