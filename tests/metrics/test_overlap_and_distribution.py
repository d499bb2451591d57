"""Silhouettes' overlap and distances of sets of pictures, on cases worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from qnerf.judges.judges import Judges
from qnerf.judges.net import JudgeNet
from qnerf.metrics.distribution import JudgesFeatures, distances
from qnerf.metrics.overlap import constant_iou, mask_iou, share_inside


def masks(*rows: str) -> Tensor:
    return torch.tensor([[[letter == "#" for letter in row]] for row in rows])


def test_overlap_worked_by_hand() -> None:
    found, true = masks("##..", "....", "#...", "...."), masks(".##.", "....", "#...", "#...")
    iou = mask_iou(found, true).tolist()
    assert iou[0] == pytest.approx(1 / 3)
    assert math.isnan(iou[1])
    assert iou[2:] == [1.0, 0.0]


def test_share_inside_worked_by_hand_and_nothing_is_not_inside() -> None:
    assert share_inside(masks("##..", "....", "####"), masks(".###", "####", "####")).tolist() == [0.5, 0.0, 1.0]


def test_the_constant_silhouette_is_the_majority() -> None:
    assert constant_iou(masks("##..", "##..", ".#..")) == pytest.approx(1.0)
    assert constant_iou(masks("#...", ".#..", "..#.")) == 0.0


class Colour(nn.Module):
    """Mean colour as features, so that distances can be worked by hand."""

    num_features = 3

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


def test_fid_of_two_normals_worked_by_hand() -> None:
    """Equal covariances, means apart by .2 in each of three channels: FID .12."""
    reference = torch.rand(400, 3, 2, 2) * 0.5
    found = distances(reference + 0.2, reference, Colour())
    assert found["fid"] == pytest.approx(3 * 0.2**2, rel=1e-3)
    assert found["kid"] > 0.05


def test_pictures_of_one_distribution_are_not_apart_and_one_repeated_picture_is() -> None:
    first, second = torch.rand(200, 3, 2, 2), torch.rand(200, 3, 2, 2)
    near, constant = distances(first, second, Colour()), distances(first[:1].expand(200, -1, -1, -1), second, Colour())
    assert near["fid"] < 0.01
    assert abs(near["kid"]) < 0.01
    assert constant["fid"] > 5 * near["fid"]
    assert constant["kid"] > 5 * abs(near["kid"])


def test_kid_is_drawn_from_a_fixed_seed_and_leaves_the_generator_alone() -> None:
    first, second = torch.rand(20, 3, 2, 2), torch.rand(20, 3, 2, 2)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    found = distances(first, second, Colour())
    assert torch.equal(torch.rand(1), expected)
    assert distances(first, second, Colour()) == found


def test_the_judges_are_a_named_extractor() -> None:
    features = JudgesFeatures(Judges(JudgeNet((4, 8, 8, 8, 8)), "abc"))
    assert (features.name, features.num_features) == ("judges-abc", 8)
    found = distances(torch.rand(6, 3, 32, 32), torch.rand(6, 3, 32, 32), features)
    assert all(math.isfinite(value) for value in found.values())
