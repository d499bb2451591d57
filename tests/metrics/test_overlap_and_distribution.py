"""Silhouettes' overlap and distances of sets of pictures, on cases worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from qnerf.classifiers.classifiers import Classifiers
from qnerf.classifiers.net import ClassifierNet
from qnerf.errors import UserError
from qnerf.metrics.distribution import ClassifierFeatures, distances, squared_mmd
from qnerf.metrics.evaluate import Edited
from qnerf.metrics.overlap import constant_iou, mask_iou, share_inside
from qnerf.metrics.registry import groups
from qnerf.scenes.procedural.build import build_scene


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


def literal_mmd(first: list[list[float]], second: list[list[float]]) -> float:
    """Bińkowski et al. 2018, term by term."""

    def kernel(a: list[float], b: list[float]) -> float:
        return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    n, m = len(first), len(second)
    own = sum(kernel(first[i], first[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    other = sum(kernel(second[i], second[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return own + other - 2 * sum(kernel(a, b) for a in first for b in second) / (n * m)


@pytest.mark.parametrize(("count", "others", "channels"), [(2, 2, 1), (7, 12, 5), (20, 9, 3)])
def test_kid_is_the_unbiased_estimate_of_all_pictures(count: int, others: int, channels: int) -> None:
    generator = torch.Generator().manual_seed(count)
    first, second = (torch.randn(n, channels, generator=generator) * 3 for n in (count, others))
    expected = literal_mmd(first.double().tolist(), second.double().tolist())
    assert squared_mmd(first, second) == pytest.approx(expected, rel=1e-12)
    assert squared_mmd(second, first) == pytest.approx(expected, rel=1e-12)


def test_kid_draws_no_random_numbers_and_is_the_same_in_any_order() -> None:
    first, second = torch.rand(20, 3, 2, 2), torch.rand(20, 3, 2, 2)
    state = torch.get_rng_state()
    found = distances(first, second, Colour())["kid"]
    assert torch.equal(torch.get_rng_state(), state)
    assert distances(first.flip(0), second.roll(3, 0), Colour())["kid"] == pytest.approx(found, rel=1e-9)


def test_kid_is_unbiased() -> None:
    """Halves of one set of pictures are no distance apart in the mean, on either side of nothing."""
    generator = torch.Generator().manual_seed(0)
    found = torch.tensor([squared_mmd(*torch.randn(2, 16, 4, generator=generator)) for _ in range(400)])
    assert found.min() < 0 < found.max()
    assert found.mean().abs() < 3 * found.std() / 400**0.5


def test_pictures_with_nan_are_refused() -> None:
    images = torch.rand(6, 3, 2, 2)
    images[4, 0, 0, 0] = math.nan
    with pytest.raises(UserError, match=r"FID and KID: pictures: NaN or infinite in 1 of 6 views \(picture 4\)"):
        distances(images, torch.rand(6, 3, 2, 2), Colour())


def test_the_classifiers_are_a_named_extractor() -> None:
    features = ClassifierFeatures(Classifiers(ClassifierNet((4, 8, 8, 8, 8)), "abc"))
    assert (features.name, features.num_features) == ("classifiers-abc", 8)
    found = distances(torch.rand(6, 3, 32, 32), torch.rand(6, 3, 32, 32), features)
    assert all(math.isfinite(value) for value in found.values())


def test_the_distance_from_the_source_is_nothing_where_nothing_is_edited() -> None:
    scene = build_scene(0, views=4, size=64)
    group = groups()["distribution"][0].compute
    assert group is not None
    same = group(Edited(scene.images, scene, {}))
    noise = group(Edited(torch.rand(scene.images.shape, generator=torch.Generator().manual_seed(0)), scene, {}))
    assert same["fid_source"] == pytest.approx(0, abs=1e-3)
    assert same["kid_source"] < noise["kid_source"]
    assert noise["fid_source"] > 1
