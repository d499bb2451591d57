"""Weights of parts in the loss, on cases worked by hand and against a plain loop."""

import torch

from qnerf.classifiers.labels import OTHER, PARTS, UNSURE
from qnerf.pretrain.balance import LARGEST, REFERENCE, balance_weights


def test_no_exponent_weighs_all_alike() -> None:
    parts = torch.randint(0, len(PARTS), (2, 8, 8))
    assert torch.equal(balance_weights(parts, 0.0), torch.ones(2, 8, 8))


def test_worked_by_hand() -> None:
    """16 cells: 8 floor, 4 shirt (the reference share), 1 ear, 3 unsure. Exponent 1/2: an ear's cell has (.25 / .0625)^½ = 2."""
    parts = torch.tensor([PARTS.index("floor")] * 8 + [PARTS.index("shirt")] * 4 + [PARTS.index("ears")] + [UNSURE] * 3).reshape(
        1, 4, 4
    )
    weights = balance_weights(parts, 0.5).flatten()
    mean = (15 + 2) / 16
    torch.testing.assert_close(weights, torch.tensor([1.0] * 12 + [2.0] + [1.0] * 3) / mean)


def test_equals_a_plain_loop_over_pictures_and_parts() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = (torch.rand(3, 16, 16, generator=generator) ** 4 * (OTHER + 1)).long().to(torch.uint8)  # a few common parts, many rare
    weights = balance_weights(parts, 0.7)
    for picture, found in zip(parts, weights, strict=True):
        plain = torch.zeros(16, 16)
        for part in picture.unique().tolist():
            share = float((picture == part).float().mean())
            plain[picture == part] = min(max((REFERENCE / share) ** 0.7, 1.0), LARGEST)
        torch.testing.assert_close(found, plain / plain.mean())
        assert plain.unique().numel() > 3
