"""The words that a trained text encoder knows, and how its embeddings go over to another vocabulary."""

from __future__ import annotations

from torch import Tensor, nn

from qnerf.backbones.architecture import clip_vocabulary
from qnerf.errors import UserError
from qnerf.scenes.procedural.phrases import WORDS

_TABLE = "token_embedding.weight"


def words_of(weights: dict[str, Tensor]) -> tuple[str, ...]:
    """The vocabulary of the world that a text encoder was trained on."""
    return WORDS[world_of(weights)]


def world_of(weights: dict[str, Tensor]) -> int:
    """The version of that world: the one whose vocabulary has as many tokens as there are embeddings.

    Raises UserError where no world has.
    """
    tokens = next((len(tensor) for name, tensor in weights.items() if name.endswith("token_embedding.weight")), 0)
    known = {len(clip_vocabulary(words)): world for world, words in WORDS.items()}
    if tokens not in known:
        sizes = ", ".join(map(str, known))
        raise UserError(f"The trained text encoder knows {tokens} tokens, expected one of {sizes}: train it again.")
    return known[tokens]


def translate(weights: dict[str, Tensor], modules: nn.ModuleDict, vocabulary: dict[str, int]) -> dict[str, Tensor]:
    """The weights with the embeddings of all tokens that they share with `vocabulary` at their places in it.

    Every word is one token, so a word keeps its meaning. New words keep the embeddings that `modules` have for them.
    """
    known = clip_vocabulary(words_of(weights))
    if known == vocabulary:
        return weights
    key, table = next((name, tensor.clone()) for name, tensor in modules.state_dict().items() if name.endswith(_TABLE))
    for token, place in vocabulary.items():
        if token in known:
            table[place] = weights[key][known[token]]
    return {**weights, key: table}
