"""How often the classifiers' answers are the truth."""

from __future__ import annotations

import torch
from torch import Tensor

from qnerf.classifiers.labels import NAMES, PARTS, UNTOLD, visible_pixels

LEAST_PIXELS = 12  # of 128 x 128: nobody can name the colour of a part that hides behind another


def counted_parts(names: Tensor, parts: Tensor, least: int = LEAST_PIXELS) -> Tensor:
    """(N, parts) bool: what the caption names and at least `least` pixels of the true view show.

    names: (N, parts) true names. parts: (N, S, S) true part maps.
    """
    return (names != UNTOLD) & (visible_pixels(parts) >= least)


def accuracy(answers: Tensor, truth: Tensor, counted: Tensor | None = None) -> float:
    """Share of counted answers that are the truth, all tensors of one shape; NaN where none counts."""
    right = answers == truth if counted is None else (answers == truth)[counted]
    return right.float().mean().item() if right.numel() else float("nan")


def accuracy_by_part(answers: Tensor, truth: Tensor, counted: Tensor) -> dict[str, float]:
    """`accuracy` of each part that counts anywhere; (N, parts) each."""
    found = {part: accuracy(answers[:, i], truth[:, i], counted[:, i]) for i, part in enumerate(PARTS)}
    return {part: value for part, value in found.items() if value == value}


def confusions(answers: Tensor, truth: Tensor, counted: Tensor, most: int = 8) -> dict[str, int]:
    """The commonest wrong answers, "true > answered" and how often; (N, parts) each."""
    wrong = counted & (answers != truth)
    pairs, times = torch.stack([truth[wrong], answers[wrong]]).unique(dim=1, return_counts=True)
    order = times.argsort(descending=True)[:most].tolist()
    return {f"{NAMES[int(pairs[0, i])]} > {NAMES[int(pairs[1, i])]}": int(times[i]) for i in order}
