"""The hooks on a small U-Net: stages, order, what is left behind, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0, SlicedAttnProcessor
from torch import Tensor

from qnerf.attention.edits import BlendQueries, RecordKeysValues, RecordOutput, RecordProbs, RecordQueries, ReplaceOutput
from qnerf.attention.hooks import CONDITIONAL, NULL, AttentionCall, AttentionEdit, Batch, Edits, bound, join_heads
from qnerf.backbones.architecture import tiny_backbone
from qnerf.backbones.conditioning import Conditioning
from qnerf.errors import UserError

BACKBONE = tiny_backbone()
EVERY = BACKBONE.layers + BACKBONE.cross_attention_layers
ONE = Batch.of(0, [CONDITIONAL], 2)


def predict(edits: Edits | None = None, batch: Batch = ONE, views: int = 2) -> Tensor:
    z = torch.randn(views, 4, *BACKBONE.latent_size, generator=torch.Generator().manual_seed(5))
    text = BACKBONE.embed(["a red shirt"] * views)
    with torch.no_grad(), bound(BACKBONE.unet, edits or Edits(), batch):
        return BACKBONE.predict(z, 400, Conditioning.of(text))


def test_order_and_grid_are_what_a_forward_pass_meets() -> None:
    record = RecordQueries()
    predict(Edits.at(BACKBONE.layers, record))
    assert tuple(record.queries) == BACKBONE.layers
    for layer, q in record.queries.items():
        rows, columns = layer.token_grid(BACKBONE.latent_size)
        assert q.shape[:2] == (2, rows * columns)


def test_recorded_queries_are_the_output_of_to_q() -> None:
    layer, seen = BACKBONE.layers[12], []
    handle = BACKBONE.unet.get_submodule(layer.path + ".to_q").register_forward_hook(lambda m, i, out: seen.append(out))
    record = RecordQueries()
    predict(Edits.at([layer], record), Batch.of(0, [NULL, CONDITIONAL], 1))
    handle.remove()
    assert torch.equal(record.queries[layer], seen[0][1:])


@pytest.mark.parametrize("edit", [RecordKeysValues(), RecordProbs()])
def test_looking_changes_nothing(edit: AttentionEdit) -> None:
    """Fused, and with the maps materialised."""
    torch.testing.assert_close(predict(Edits.at(EVERY, edit)), predict(), rtol=0, atol=1e-6)


def test_stages_run_in_order_and_the_kernel_is_left_alone_where_no_maps_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Watch(AttentionEdit):
        def __init__(self, name: str) -> None:
            self.name = name

        def before(self, call: AttentionCall) -> AttentionCall:
            said.append(f"{self.name} before")
            return call

        def after(self, call: AttentionCall, out: Tensor) -> Tensor:
            said.append(f"{self.name} after")
            return out

    class Maps(Watch):
        def probs(self, call: AttentionCall, p: Tensor) -> Tensor:
            said.append(f"{self.name} probs")
            assert p.shape == (2, call.q.shape[1], call.q.shape[2], call.k.shape[2])
            torch.testing.assert_close(p.sum(-1), torch.ones(p.shape[:-1]))
            return p

    layer = BACKBONE.layers[3]
    predict(Edits.at([layer], Watch("a")) | Edits.at([layer], Maps("b")))
    assert said == ["a before", "b before", "b probs", "a after", "b after"]
    monkeypatch.setattr("qnerf.attention.hooks.attention_probs", lambda call: pytest.fail("nobody asked for the maps"))
    predict(Edits.at([layer], Watch("a")))


def test_an_edit_may_change_each_stage() -> None:
    """Keys of zero make even maps; maps of zero and outputs of zero make the layer's output its bias alone."""
    layer = BACKBONE.layers[3]
    attn: Any = BACKBONE.unet.get_submodule(layer.path)
    hidden = torch.randn(2, 5, attn.to_q.in_features)

    class NoKeys(AttentionEdit):
        def before(self, call: AttentionCall) -> AttentionCall:
            return replace(call, k=torch.zeros_like(call.k))

    class NoMaps(AttentionEdit):
        def probs(self, call: AttentionCall, p: Tensor) -> Tensor:
            return torch.zeros_like(p)

    class NoOutput(AttentionEdit):
        def after(self, call: AttentionCall, out: Tensor) -> Tensor:
            return torch.zeros_like(out)

    def run(edit: AttentionEdit) -> Tensor:
        with bound(BACKBONE.unet, Edits.at([layer], edit), ONE):
            return attn(hidden)

    mean = attn.to_out[0](attn.to_v(hidden).mean(dim=1, keepdim=True)).expand(2, 5, -1)
    torch.testing.assert_close(run(NoKeys()), mean, rtol=0, atol=1e-6)
    for edit in (NoMaps(), NoOutput()):
        torch.testing.assert_close(run(edit), attn.to_out[0].bias.expand(2, 5, -1), rtol=0, atol=1e-6)


def test_a_bias_masks_keys_in_both_kernels() -> None:
    layer = BACKBONE.layers[3]
    attn: Any = BACKBONE.unet.get_submodule(layer.path)
    hidden = torch.randn(2, 5, attn.to_q.in_features)

    class FirstTwo(AttentionEdit):
        def before(self, call: AttentionCall) -> AttentionCall:
            bias = torch.full((1, 1, 1, 5), -torch.inf)
            bias[..., :2] = 0
            return replace(call, bias=bias)

    with bound(BACKBONE.unet, Edits.at([layer], FirstTwo()), ONE):
        fused = attn(hidden)
    with bound(BACKBONE.unet, Edits.at([layer], FirstTwo(), RecordProbs()), ONE):
        plain = attn(hidden)
    q, k, v = (x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (attn.to_q(hidden), attn.to_k(hidden), attn.to_v(hidden)))
    p = (q @ k[:, :, :2].transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    expected = attn.to_out[0](join_heads(p @ v[:, :, :2]))
    torch.testing.assert_close(fused, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(plain, expected, rtol=0, atol=1e-6)


def test_a_gradient_goes_through_maps() -> None:
    record = RecordProbs()
    z = torch.randn(2, 4, *BACKBONE.latent_size, generator=torch.Generator().manual_seed(5))
    text = BACKBONE.embed(["a red shirt"] * 2)
    direction = torch.randn(z.shape, generator=torch.Generator().manual_seed(6))
    layer = BACKBONE.cross_attention_layers[9]

    def energy(at: Tensor) -> Tensor:
        with bound(BACKBONE.unet, Edits.at([layer], record), ONE):
            BACKBONE.predict(at, 400, Conditioning.of(text))
        return record.maps[layer][..., 2].square().sum()

    at = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(energy(at), at)
    with torch.no_grad():
        slope = (energy(z + 5e-3 * direction) - energy(z - 5e-3 * direction)) / 1e-2
    assert slope.item() == pytest.approx((gradient * direction).sum().item(), rel=2e-2)


def test_edits_of_outputs_see_named_rows_and_are_taken_away() -> None:
    """A residual of the second row in the place of the first's: what follows is then the second's too."""
    path, record = "up_blocks.1.resnets.1.conv2", RecordOutput()
    batch = Batch.of(0, [NULL, CONDITIONAL], 1)
    plain = predict(Edits(features={path: [record]}), batch)
    assert torch.equal(plain, predict())
    injected = ReplaceOutput((NULL,), {path: record.kept[path][1:]})
    after = RecordOutput()
    found = predict(Edits(features={path: [injected, after]}), batch)
    assert torch.equal(after.kept[path][0], record.kept[path][1])
    assert torch.equal(after.kept[path][1], record.kept[path][1])
    assert (found[0] - plain[0]).abs().max() > 1e-5
    torch.testing.assert_close(found[1], plain[1], rtol=0, atol=1e-6)
    assert torch.equal(predict(), plain)


def test_edits_join_in_order() -> None:
    layer = BACKBONE.layers[13]
    rows, columns = layer.token_grid(BACKBONE.latent_size)
    channels = BACKBONE.unet.get_submodule(layer.path + ".to_q").out_features
    target = {layer: torch.ones(2, rows * columns, channels)}  # pyright: ignore[reportCallIssue, reportArgumentType]
    share = {layer: torch.full((2, rows * columns, 1), 0.25)}
    share[layer][:, 3] = 0
    before, after = RecordQueries(), RecordQueries()
    predict(Edits.at([layer], before) | Edits.at([layer], BlendQueries(None, target, share), after))
    expected = 0.75 * before.queries[layer] + 0.25
    expected[:, 3] = before.queries[layer][:, 3]
    torch.testing.assert_close(after.queries[layer], expected)


def test_everything_is_as_before_after_an_error() -> None:
    layer = BACKBONE.layers[3]
    module: Any = BACKBONE.unet.get_submodule(layer.path)
    before, hooks = module.processor, len(BACKBONE.unet.conv_out._forward_hooks)
    edits = Edits({layer: [RecordKeysValues()]}, {"conv_out": [RecordOutput()]})
    with pytest.raises(RuntimeError), bound(BACKBONE.unet, edits, ONE):
        raise RuntimeError
    assert module.processor is before
    assert len(BACKBONE.unet.conv_out._forward_hooks) == hooks


class Foreign:
    def __call__(self, attn: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden_states


@pytest.mark.parametrize("processor", [Foreign(), SlicedAttnProcessor(2)])
def test_another_s_processor_is_refused_and_kept(processor: Any) -> None:
    layer = BACKBONE.layers[3]
    module: Any = BACKBONE.unet.get_submodule(layer.path)
    before, module.processor = module.processor, processor
    try:
        with pytest.raises(UserError, match=rf"{layer.path} is a {type(processor).__name__}.*set_attn_processor"):
            predict(Edits.at([layer], RecordKeysValues()))
        assert module.processor is processor
    finally:
        module.processor = before


def test_fused_projections_are_refused() -> None:
    backbone = tiny_backbone()
    backbone.unet.fuse_qkv_projections()
    with (
        pytest.raises(UserError, match=r"fused.*unfuse_qkv_projections"),
        bound(backbone.unet, Edits.at(backbone.layers[:1], RecordKeysValues()), ONE),
    ):
        pass


def test_an_edit_that_no_pass_came_to_is_an_error() -> None:
    """As where other code resets the processors in between: the edit would vanish without a word."""
    backbone = tiny_backbone()

    def reset() -> None:
        with bound(backbone.unet, Edits.at(backbone.layers, RecordKeysValues()), ONE):
            backbone.unet.set_attn_processor(AttnProcessor2_0())
            backbone.predict(torch.zeros(2, 4, 8, 8), 10, Conditioning.of(backbone.embed(["", ""])))

    def no_pass() -> None:
        with bound(backbone.unet, Edits(features={"conv_in": [RecordOutput()]}), ONE):
            pass

    with pytest.raises(UserError, match="no pass of the U-Net used it"):
        reset()
    with pytest.raises(UserError, match="conv_in"):
        no_pass()


@pytest.mark.parametrize("argument", ["attention_mask", "image_rotary_emb", "something_new"])
def test_arguments_that_an_edited_layer_does_not_know_are_refused(argument: str) -> None:
    layer = BACKBONE.layers[3]
    attn: Any = BACKBONE.unet.get_submodule(layer.path)
    hidden = torch.zeros(2, 5, attn.to_q.in_features)
    with bound(BACKBONE.unet, Edits.at([layer], RecordKeysValues()), ONE):
        attn.processor(attn, hidden, **{argument: None})
        with pytest.raises(UserError, match=argument):
            attn.processor(attn, hidden, **{argument: torch.zeros(1)})
