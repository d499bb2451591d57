"""Energies: functions of a pass's activations, whose gradient guides the latents or the text.

Soft guidance is one (its energy is a distance of queries); attend-and-excite, layout and self-guidance
are others, of maps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from qnerf.attention.hooks import CONDITIONAL, Edits
from qnerf.denoising.edit import EditBranch


class Energy(Protocol):
    def edits(self) -> Edits:
        """What records the pass that the energy is a function of. Recorders keep what they see in the graph."""
        ...

    def value(self) -> Tensor:
        """(V,), one number a view, of the pass that was recorded last. Views must not couple: chunks would show."""
        ...


def energy_gradient(
    branch: EditBranch,
    z: Tensor,
    k: int,
    energy: Energy,
    checkpointing: bool = False,
    of: Literal["latents", "text"] = "latents",
) -> Tensor:
    """∇ Σ_v E_v at step k, through one pass of the conditional prediction: with respect to the latents
    z (V, 4, h, w), or to the states of the prompt (V, L, C).

    checkpointing: activations are computed again in the backward pass instead of kept (Chen et al. 2016).
    """
    rows, z = (CONDITIONAL,), z.detach().requires_grad_(of == "latents")
    text = branch.conditioning.text.detach().requires_grad_(of == "text")
    branch = replace(branch, conditioning=replace(branch.conditioning, text=text))
    # Checkpointed blocks run again while the gradient is taken, so their attention has to stay edited until then.
    with (
        torch.enable_grad(),
        branch.attention(z, k, rows, energy.edits()),
        branch.backbone.checkpointing(checkpointing),
    ):
        branch.run(z, k, rows)
        (gradient,) = torch.autograd.grad(energy.value().sum(), z if of == "latents" else text)
    return gradient
