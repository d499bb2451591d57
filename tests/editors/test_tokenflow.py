"""TokenFlow against maps that are written out, in float64, for all views in one batch, and its parts by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.attention.hooks import CONDITIONAL, AttentionCall, Batch
from qnerf.attention.propagation import Flow, Propagate, nearest_tokens
from qnerf.consolidation.job import EditJob
from qnerf.editors.plain import PlainEditorSettings
from qnerf.editors.tokenflow import TokenFlowSettings, blend_weight, key_views
from tests.editors.helpers import STEPS, VIEWS, double, job_of, latents, noise, null_of
from tests.schedules.helpers import make_job

SCALE = 3.0


def settings(**changes: Any) -> TokenFlowSettings:
    alone = {"feature_steps": 0.0, "attention_steps": 0.0}  # without Plug-and-Play
    return TokenFlowSettings.model_validate({"name": "tokenflow", "keep_background": False, **alone, **changes})


def source_tokens(job: EditJob, k: int) -> dict[str, Tensor]:
    """What each block's first norm puts out in the source's pass under the null prompt, by the path of its attention."""
    kept: dict[str, Tensor] = {}

    def keep(path: str) -> Any:
        return lambda module, inputs, output: kept.update({path: output})

    paths = [layer.path for layer in double().layers]
    handles = [
        double().unet.get_submodule(path.removesuffix("attn1") + "norm1").register_forward_hook(keep(path)) for path in paths
    ]
    source = job.source(slice(0, VIEWS))
    with torch.no_grad():
        source.noise(job.trajectory.states[k], k, source.null_text)
    for handle in handles:
        handle.remove()
    return kept


def literal(job: EditJob, batch: int) -> Tensor:
    """DDIM in which key views attend to all key views, and the others take the key view's outputs at the nearest tokens."""
    z = job.trajectory.states[0]
    for k in range(STEPS):
        keys, tokens = key_views(VIEWS, batch, k), source_tokens(job, k)

        def change(
            path: str, p: Tensor, q: Tensor, key: Tensor, v: Tensor, keys: list[int] = keys, tokens: dict[str, Tensor] = tokens
        ) -> tuple[Tensor, Tensor]:
            if path not in tokens:
                return p, v
            every, values = (torch.cat(list(x[keys]), dim=1)[None].expand(len(q), -1, -1, -1) for x in (key, v))
            maps = (q @ every.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
            for view in set(range(VIEWS)) - set(keys):
                for i, token in enumerate(tokens[path][view]):
                    alike = torch.cosine_similarity(token[None], tokens[path][keys[0]], dim=-1)
                    maps[view, :, i] = maps[keys[0], :, int(alike.argmax())]
            return maps, values

        conditional, null = (noise(job, z, k, text, change=change) for text in (job.target.text, null_of(job)))
        eps = null + SCALE * (conditional - null)
        clean = (z - job.steps.sigma[k] * eps) / job.steps.signal[k]
        z = job.steps.signal[k + 1] * clean + job.steps.sigma[k + 1] * eps
    return z


@pytest.mark.parametrize(("batch", "chunk_size"), [(1, 1), (2, 2)])
def test_it_is_extended_attention_of_key_views_and_the_nearest_tokens_of_others(batch: int, chunk_size: int) -> None:
    """With every view a key view it is plain extended attention."""
    editor = settings(batch=batch, guidance_scale=SCALE)
    found = latents(job_of(editor, chunk_size))
    torch.testing.assert_close(found, literal(job_of(editor), batch), rtol=0, atol=5e-6)


def test_one_view_alone_is_the_plain_editor() -> None:
    """Its own outputs are all there is to attend to: without Plug-and-Play nothing is changed."""
    from qnerf.consolidation.one_view import one_view

    jobs = (job_of(settings()), job_of(PlainEditorSettings(name="plain", keep_background=False)))
    found, plain = (latents(one_view(job, 0)) for job in jobs)
    torch.testing.assert_close(found, plain, rtol=0, atol=5e-6)


def test_outputs_are_blended_from_the_key_views_of_two_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    layer = double().layers[0]
    keys, own = torch.randn(3, 2, 4, 5, generator=generator), torch.randn(2, 2, 4, 5, generator=generator)
    near, far = torch.tensor([3, 0, 0, 1]), torch.tensor([1, 1, 2, 0])
    flows = [Flow(None, 2, 1, 0.7, {layer: (near, far)}), Flow(0, 1, 0, 0.6, {})]
    call = AttentionCall(layer, Batch.of(0, [CONDITIONAL], 2), own, own, own)
    found = Propagate({CONDITIONAL: {layer: keys}}, flows).after(call, own)
    for token in range(4):
        wanted = 0.7 * keys[2, :, near[token]] + 0.3 * keys[1, :, far[token]]
        torch.testing.assert_close(found[0, :, token], wanted)
    assert torch.equal(found[1], keys[0])


def test_the_nearest_is_by_the_cosine() -> None:
    others = torch.tensor([[10.0, 0.1], [0.0, 1.0], [-5.0, 0.0]])
    assert nearest_tokens(torch.tensor([[1.0, 0.0], [0.1, 3.0], [-1.0, 0.2]]), others).tolist() == [0, 1, 2]


def test_keys_are_one_of_each_batch_and_weights_as_published() -> None:
    assert all(0 <= a < 4 <= b < 8 <= c < 10 for a, b, c in (key_views(10, 4, k) for k in range(30)))
    assert len({tuple(key_views(10, 4, k)) for k in range(30)}) > 5
    assert key_views(3, 1, 7) == [0, 1, 2]
    weights = [blend_weight(view, 8) for view in range(8, 16)]
    assert weights[0] == pytest.approx(1 / (1 + math.exp(-4.5 / 8)))
    assert all(0.5 < weight <= 0.7311 for weight in weights)


def test_chunks_change_nothing_with_all_of_plug_and_play() -> None:
    found = []
    for size in (1, 4):
        job, _ = make_job(steps=2, chunk_size=size, editor=settings(batch=2, feature_steps=1.0, attention_steps=1.0))
        found.append(latents(job))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-4)
    plain, _ = make_job(steps=2, editor=settings(batch=2))
    assert (latents(plain) - found[1]).abs().max() > 1e-3
