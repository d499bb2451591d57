"""The prompts of an edit, their words, and the tokens of a word. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qnerf.common.messages import sentence

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Prompts:
    """What the views show, and what the edited views shall show."""

    source: str = ""
    target: str = ""


def words_of(prompt: str) -> list[str]:
    """Words and signs in their order, in small letters: those between which a word of a setting is looked for."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?|[^\w\s]|_", prompt.lower())


def new_words(prompts: Prompts) -> tuple[str, ...]:
    """The words of the target's prompt that the source's has not."""
    before = words_of(prompts.source)
    return tuple(dict.fromkeys(word for word in words_of(prompts.target) if word not in before and word[0].isalnum()))


def word_problem(key: str, words: Iterable[str], prompt: str) -> str | None:
    """One sentence where a setting names a word that the prompt has not, with what it has; or None."""
    held = list(dict.fromkeys(words_of(prompt)))
    for word in words:
        if not set(words_of(word)) <= set(held) or not words_of(word):
            return sentence(key, f"{word!r} is not in the prompt {prompt!r}", word, held)
    return None


def word_tokens(tokenizer: Any, prompt: str, length: int) -> list[tuple[int, ...]]:
    """For each word of `words_of`, the places of its tokens in the prompt's states, from 1 on (0 is the start token).

    tokenizer: of transformers. length: L, the number of states; words beyond it have no tokens.
    """
    places, at = [], 1
    for word in words_of(prompt):
        count = len(tokenizer(word, add_special_tokens=False)["input_ids"])
        places.append(tuple(place for place in range(at, at + count) if place < length - 1))
        at += count
    return places


def tokens_of(tokenizer: Any, prompt: str, words: Sequence[str], length: int) -> tuple[int, ...]:
    """The places of all tokens of these words wherever the prompt has them, in order."""
    wanted = {part for word in words for part in words_of(word)}
    each = zip(words_of(prompt), word_tokens(tokenizer, prompt, length), strict=True)
    return tuple(place for word, places in each if word in wanted for place in places)


def word_weights(tokenizer: Any, prompts: Sequence[str], words: Sequence[Sequence[str]], length: int) -> Tensor:
    """(V, L) of V prompts and the words of each: 1 at the tokens of these words, else 0."""
    import torch

    weights = torch.zeros(len(prompts), length)
    for row, prompt, some in zip(weights, prompts, words, strict=True):
        row[list(tokens_of(tokenizer, prompt, some, length))] = 1.0
    return weights
