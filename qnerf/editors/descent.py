"""What energies of attention maps have in common: the words that they are about, and their gradient steps (docs/method.md §4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qnerf.backbones.words import Prompts, new_words, word_problem, word_weights

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.denoising.edit import EditBranch
    from qnerf.denoising.energy import Energy

GRADIENT_PASSES = 3
"""A forward pass, and a backward pass that costs as much as two."""


def added_words_problem(key: str, words: Sequence[str], source_prompt: str, target_prompt: str) -> str | None:
    """One sentence where the words are not in the target's prompt, or where none are given and it has no new ones."""
    if words or new_words(Prompts(source_prompt, target_prompt)):
        return word_problem(key, words, target_prompt)
    return (
        f"{key}: none given, and the target's prompt {target_prompt!r} has no word that the source's has not; name some: {key}=[…]"
    )


def target_words(branch: EditBranch, words: Sequence[str]) -> Tensor:
    """(V, L): 1 at the tokens of words in the target's prompts, else 0; of no words, of those that a source's prompt has not."""
    each = [words or new_words(prompts) for prompts in branch.prompts]
    length, targets = branch.conditioning.text.shape[1], [prompts.target for prompts in branch.prompts]
    return word_weights(branch.backbone.tokenizer, targets, each, length).to(branch.conditioning.text.device)


def descend(
    branch: EditBranch,
    z: Tensor,
    k: int,
    energy: Energy,
    rate: float,
    iterations: int,
    above: float = 0.0,
    check_first: bool = False,
) -> Tensor:
    """`z - rate ∇E(z)`, at most so many times: until after a step E was at most `above` before it. Each view by itself.

    check_first: a view that is at most `above` at the beginning is left alone.
    """
    import torch

    from qnerf.denoising.energy import energy_gradient

    going = torch.ones(len(z), dtype=torch.bool, device=z.device)
    for iteration in range(iterations):
        gradient = energy_gradient(branch, z, k, energy)
        high = energy.value().detach() > above
        if check_first and iteration == 0:
            going &= high
        z = torch.where(going[:, None, None, None], z - rate * gradient, z)
        going &= high
        if not bool(going.any()):
            break
    return z
