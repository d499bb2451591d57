"""How the words of two prompts correspond, as Prompt-to-Prompt's authors define it: mappers of maps' columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qnerf.backbones.words import tokens_of, word_tokens, words_of

if TYPE_CHECKING:
    from torch import Tensor


def replacement_mapper(tokenizer: Any, source: str, target: str, length: int) -> Tensor:
    """M (L, L): column t of the target's map is Σ_s p_source[s] M[s, t]. Prompts of equally many words; a word of other tokens
    takes over the other's: token by token where they are as many, else each the sum of all over their number."""
    import torch

    mapper = torch.zeros(length, length)
    pairs = list(
        zip(
            *(word_tokens(tokenizer, prompt, length) for prompt in (source, target)),
            *(words_of(prompt) for prompt in (source, target)),
            strict=True,
        )
    )
    changed = [(a, b) for a, b, before, after in pairs if before != after and a and b]
    i = j = 0
    while i < length and j < length:
        if changed and changed[0][0][0] == i:
            a, b = changed.pop(0)
            for place, other in zip(a, b, strict=True) if len(a) == len(b) else ((p, o) for p in a for o in b):
                mapper[place, other] = 1.0 if len(a) == len(b) else 1 / len(b)
            i, j = i + len(a), j + len(b)
        else:
            mapper[i if changed else j, j] = 1.0
            i, j = i + 1, j + 1
    return mapper


def refinement_mapper(tokenizer: Any, source: str, target: str, length: int) -> tuple[Tensor, Tensor]:
    """For each of the target's L states which of the source's it corresponds to (L,), and α (L,): 1 where there is one, else 0."""
    import torch

    before, after = (tokenizer(prompt)["input_ids"][:length] for prompt in (source, target))
    places = [*aligned(before, after), *range(len(after), length)]
    return torch.tensor([max(place, 0) for place in places]), torch.tensor([float(place >= 0) for place in places])


def aligned(source: Sequence[int], target: Sequence[int]) -> list[int]:
    """The place in the source of each item of the target, -1 where it has none: the global alignment (Needleman & Wunsch 1970) of
    gap 0, match 1 and mismatch -1; of equal ones that which leaves out items of the target first, then of the source."""
    rows, columns = len(source) + 1, len(target) + 1
    score = [[0] * columns for _ in range(rows)]
    back = [["left"] * columns] + [["up"] * columns for _ in range(rows - 1)]
    for i in range(1, rows):
        for j in range(1, columns):
            options = {
                "left": score[i][j - 1],
                "up": score[i - 1][j],
                "both": score[i - 1][j - 1] + (1 if source[i - 1] == target[j - 1] else -1),
            }
            back[i][j] = max(options, key=lambda way: options[way])  # the first of equal ones
            score[i][j] = options[back[i][j]]
    found, i, j = [], rows - 1, columns - 1
    while j > 0:
        way = back[i][j]
        i, j, place = i - (way != "left"), j - (way != "up"), i - 1 if way == "both" else -1
        found += [place] if way != "up" else []
    return found[::-1]


def equaliser(tokenizer: Any, prompt: str, weights: Mapping[str, float], length: int) -> Tensor:
    """The factor of each state's column (L,): that of its word, else 1."""
    import torch

    factors = torch.ones(length)
    for word, weight in weights.items():
        factors[list(tokens_of(tokenizer, prompt, [word], length))] = weight
    return factors
