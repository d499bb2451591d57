"""Hooks into a U-Net's pass: edits of attention calls and of module outputs, bound for the length of a `with`.

A pass is a batch whose rows are *named* (`Batch.rows`): "conditional", "null", "source_control", each a
slice of as many views. One attention call is, with h heads, n queries, m keys and d channels a head,

    p = softmax(q kᵀ / √d + bias)    out = p v        q (B, h, n, d)   k, v (B, h, m, d)   bias
    broadcast to (B, h, n, m)

and an edit has a hook at each stage: `before` sees and changes q, k, v and the bias, `probs` sees and
changes p, `after` sees and changes out. Only what is overridden is paid for: p is materialised only
where an edit of the layer overrides `probs`, and every layer without an edit keeps the fused kernel.
Edits of a layer apply in order at each stage, so a recorder behind an injection records what was
injected, and one before it what the model had.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

from qnerf.attention.layers import AttentionLayer
from qnerf.errors import UserError

CONDITIONAL, NULL, SOURCE_CONTROL = "conditional", "null", "source_control"
"""Names of rows: the prompt's prediction, the null prompt's, and the prompt's under the source's control."""


@dataclass(frozen=True)
class Batch:
    """What the rows of a pass are. step: the denoising step. rows: slices of the batch by name; together they are all of it."""

    step: int
    rows: Mapping[str, slice]

    @staticmethod
    def of(step: int, names: Sequence[str], views: int) -> Batch:
        """`views` rows under each name, in this order."""
        return Batch(step, {name: slice(i * views, (i + 1) * views) for i, name in enumerate(names)})


@dataclass(frozen=True)
class AttentionCall:
    """One call of one layer. q: (B, heads, n, d). k, v: (B, heads, m, d). bias: added to the scores, -inf masks a key."""

    layer: AttentionLayer
    batch: Batch
    q: Tensor
    k: Tensor
    v: Tensor
    bias: Tensor | None = None


class AttentionEdit:
    """One change to (or look at) attention calls. Override the stages that it needs, and only these.

    reads, leaves: attributes whose tensors it reads, and mappings that it fills for others to read. A GPU then replays its passes
    (`recorded.py`): other attributes must be fixed values, and no stage look at the step's number or a tensor's value. reads None:
    it does not say, and its passes are run plainly.
    """

    reads: ClassVar[tuple[str, ...] | None] = None
    leaves: ClassVar[tuple[str, ...]] = ()

    def before(self, call: AttentionCall) -> AttentionCall:
        """The call as it is to be made (`dataclasses.replace`)."""
        return call

    def probs(self, call: AttentionCall, p: Tensor) -> Tensor:
        """The weights to be used in the place of p (B, heads, n, m), which is in the graph."""
        return p

    def after(self, call: AttentionCall, out: Tensor) -> Tensor:
        """The output to be used in the place of out (B, heads, n, d), before the output projection."""
        return out


class FeatureEdit(Protocol):
    """One change to (or look at) what a module of the U-Net puts out: a residual, or a block's hidden states."""

    def output(self, path: str, x: Tensor, batch: Batch) -> Tensor: ...


@dataclass(frozen=True)
class Edits:
    """What is bound in a pass: edits of attention by layer, and of outputs by module path. `a | b` is both, a's first."""

    attention: Mapping[AttentionLayer, Sequence[AttentionEdit]] = field(default_factory=dict)
    features: Mapping[str, Sequence[FeatureEdit]] = field(default_factory=dict)

    @staticmethod
    def at(layers: Sequence[AttentionLayer], *edits: AttentionEdit) -> Edits:
        """The same edits at each of the layers."""
        return Edits(dict.fromkeys(layers, edits))

    def __or__(self, other: Edits) -> Edits:
        return Edits(_joined(self.attention, other.attention), _joined(self.features, other.features))

    def __bool__(self) -> bool:
        return bool(self.attention or self.features)


def _joined(first: Mapping[Any, Sequence[Any]], second: Mapping[Any, Sequence[Any]]) -> dict[Any, Sequence[Any]]:
    return {key: (*first.get(key, ()), *second.get(key, ())) for key in (*first, *(k for k in second if k not in first))}


_BOUND: WeakKeyDictionary[nn.Module, list[tuple[dict[AttentionLayer, EditedAttention], bool]]] = WeakKeyDictionary()


def bound_now(unet: nn.Module) -> tuple[dict[AttentionLayer, EditedAttention], bool]:
    """The edited layers of a U-Net by now, and whether any module's output is edited."""
    levels = _BOUND.get(unet, [])
    return {layer: p for processors, _ in levels for layer, p in processors.items()}, any(features for _, features in levels)


@contextmanager
def bound(unet: nn.Module, edits: Edits, batch: Batch) -> Iterator[None]:
    """Run the U-Net with these edits. All is as before afterwards, also after an error.

    Raises UserError where another's attention processor is in the way, and where no pass came to an edit that was bound.
    """
    modules: dict[AttentionLayer, Any] = {layer: unet.get_submodule(layer.path) for layer in edits.attention}
    before = {layer: module.processor for layer, module in modules.items()}
    for layer, module in modules.items():
        _check_processor(layer, module)
    processors = {layer: EditedAttention(layer, edits.attention[layer], batch) for layer in modules}
    outputs = {path: _EditedOutput(path, some, batch) for path, some in edits.features.items()}
    handles = []
    levels = _BOUND.setdefault(unet, [])
    levels.append((processors, bool(outputs)))
    try:
        for layer, module in modules.items():
            module.processor = processors[layer]
        handles += [unet.get_submodule(path).register_forward_hook(hook) for path, hook in outputs.items()]
        yield
        unused = [layer.path for layer, p in processors.items() if not p.calls or modules[layer].processor is not p]
        unused += [path for path, hook in outputs.items() if not hook.calls]
        if unused:
            raise UserError(
                f"an edit was set on {unused[0]}"
                + (f" and {len(unused) - 1} other layers" if len(unused) > 1 else "")
                + ", but no pass of the U-Net used it: other code may have replaced the attention "
                "processors; remove that code"
            )
    finally:
        levels.pop()
        for handle in handles:
            handle.remove()
        for layer, module in modules.items():
            module.processor = before[layer]


DEFAULT_PROCESSORS = ("AttnProcessor", "AttnProcessor2_0", "EditedAttention")
"""diffusers' plain processors, which compute what an edited layer without edits does."""


def _check_processor(layer: AttentionLayer, module: Any) -> None:
    if getattr(module, "fused_projections", False):
        raise UserError(
            f"the projections of {layer.path} are fused; expected separate to_q, to_k and to_v: call "
            "unet.unfuse_qkv_projections() before an edit"
        )
    if type(module.processor).__name__ not in DEFAULT_PROCESSORS:
        raise UserError(
            f"the attention processor of {layer.path} is a {type(module.processor).__name__}; expected "
            "diffusers' default, which an edit replaces: call unet.set_attn_processor(AttnProcessor2_0()) "
            "before"
        )


class EditedAttention:
    """diffusers' attention processor for SD's transformer blocks (no masks, no group norm), with the hooks' stages."""

    def __init__(self, layer: AttentionLayer, edits: Sequence[AttentionEdit], batch: Batch) -> None:
        self.layer, self.edits, self.batch = layer, edits, batch
        self.reads_probs = any(type(edit).probs is not AttentionEdit.probs for edit in edits)
        self.calls = 0

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **others: Any,
    ) -> Tensor:
        given = [name for name, value in {"attention_mask": attention_mask, **others}.items() if value is not None]
        if given:
            raise UserError(
                f"the attention of {self.layer.path} was called with {', '.join(sorted(given))}, which an "
                "edited layer does not support; expected a call without it: use a model like Stable "
                "Diffusion, and a version of diffusers that qnerf supports"
            )
        self.calls += 1
        return self.attention(attn, hidden_states, encoder_hidden_states)

    def attention(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (split_heads(x, attn.heads) for x in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)))
        call = AttentionCall(self.layer, self.batch, q, k, v)
        for edit in self.edits:
            call = edit.before(call)
        out = self._attend(call)
        for edit in self.edits:
            out = edit.after(call, out)
        return cast(Tensor, attn.to_out[1](attn.to_out[0](join_heads(out))))

    def _attend(self, call: AttentionCall) -> Tensor:
        if not self.reads_probs:
            return functional.scaled_dot_product_attention(call.q, call.k, call.v, attn_mask=call.bias)
        p = attention_probs(call)
        for edit in self.edits:
            p = edit.probs(call, p)
        return p @ call.v


class _EditedOutput:
    """A forward hook: the edits of one module's output, or of the first of its outputs."""

    def __init__(self, path: str, edits: Sequence[FeatureEdit], batch: Batch) -> None:
        self.path, self.edits, self.batch, self.calls = path, edits, batch, 0

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        self.calls += 1
        x = output[0] if isinstance(output, tuple) else output
        for edit in self.edits:
            x = edit.output(self.path, x, self.batch)
        return (x, *output[1:]) if isinstance(output, tuple) else x


def attention_probs(call: AttentionCall) -> Tensor:
    """softmax(q kᵀ / √d + bias), (B, heads, n, m); in float32 at least, in q's dtype."""
    scores = call.q @ call.k.transpose(-1, -2) * call.q.shape[-1] ** -0.5
    scores = scores if call.bias is None else scores + call.bias
    return torch.softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(scores.dtype)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, tokens, channels) to (B, heads, tokens, d)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """(B, heads, tokens, d) to (B, tokens, channels)."""
    return x.transpose(1, 2).flatten(-2)
