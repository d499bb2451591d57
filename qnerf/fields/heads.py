"""Linear heads after and before compositing (docs/method.md §2.4, "deferred heads").

Compositing is linear and the background's weight is 1 - Σ w, so the weights of a ray sum to 1 and
Σ_i w_i (W h_i + b) + (1 - Σ_i w_i) (W h_bg + b) = W (Σ_i w_i h_i + (1 - Σ_i w_i) h_bg) + b exactly.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import linear

from qnerf.fields.rendering import composite


def composite_feature(hidden: Tensor, weights: Tensor, background: Tensor) -> Tensor:
    """Σ_i w_i h_i + (1 - Σ_i w_i) h_bg: hidden (R, S, W), weights (R, S), background (W,) or (R, W) to (R, W)."""
    return composite(weights, hidden) + (1 - weights.sum(-1, keepdim=True)) * background


def deferred_heads(hidden: Tensor, weights: Tensor, background: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """weight (C, W) and bias (C,) applied once per ray: (R, C)."""
    return linear(composite_feature(hidden, weights, background), weight, bias)


def heads_per_sample(hidden: Tensor, weights: Tensor, background: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The reference: the same heads applied at every sample and to the background, then composited: (R, C)."""
    empty = (1 - weights.sum(-1, keepdim=True)) * linear(background, weight, bias)
    return composite(weights, linear(hidden, weight, bias)) + empty
