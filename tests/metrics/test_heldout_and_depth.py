"""Held-out views and the depth of the field, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from qnerf.metrics.depth import field_depth_error
from qnerf.metrics.heldout import heldout_psnr, split_views
from qnerf.scenes.cameras import Cameras


def cameras(count: int) -> Cameras:
    poses = torch.eye(4).repeat(count, 1, 1)
    poses[:, 0, 3] = torch.arange(count)
    return Cameras(poses, torch.full((count, 2), 8.0), torch.full((count, 2), 4.0), 8, 8)


def test_every_fourth_view_is_held_out() -> None:
    assert split_views(12, 4) == ([0, 1, 2, 4, 5, 6, 8, 9, 10], [3, 7, 11])
    assert split_views(3, 4) == ([0, 1, 2], [])


def test_the_field_never_sees_the_views_that_it_is_tested_on() -> None:
    images = torch.arange(8.0)[:, None, None, None].expand(8, 3, 8, 8) / 10
    seen: dict[str, list[float]] = {}

    def train(kept: Tensor, at: Cameras):
        seen["images"], seen["positions"] = kept[:, 0, 0, 0].tolist(), at.positions[:, 0].tolist()

        def render(held_out: Cameras) -> Tensor:
            seen["tested"] = held_out.positions[:, 0].tolist()
            return images[[3, 7]] + 0.01

        return render

    shown: dict[int, float] = {}
    found = heldout_psnr(images, cameras(8), 4, train, lambda view, picture: shown.update({view: picture.mean().item()}))
    assert found == pytest.approx(40, abs=1e-2)
    assert shown == pytest.approx({3: 0.31, 7: 0.71}), "what was rendered at each, for the run's page"
    assert seen["positions"] == [0, 1, 2, 4, 5, 6]
    assert seen["images"] == pytest.approx([0, 0.1, 0.2, 0.4, 0.5, 0.6])
    assert seen["tested"] == [3, 7]


def test_too_few_views_give_no_figure() -> None:
    assert math.isnan(heldout_psnr(torch.rand(3, 3, 8, 8), cameras(3), 4, lambda *_: pytest.fail("trained")))


def test_depth_error_is_taken_at_the_centres_of_object_tokens() -> None:
    truth = torch.full((1, 8, 8), torch.inf)
    truth[0, :4, :4] = 2.0  # the upper left of 2 x 2 tokens, whose centre is pixel (2, 2)
    truth[0, 2, 2] = 2.5
    silhouette = torch.isfinite(truth)
    depth = torch.tensor([[[2.2, 9.0], [9.0, 9.0]]])
    assert field_depth_error(depth, truth, silhouette) == pytest.approx(0.3, abs=1e-6)
    assert math.isnan(field_depth_error(depth, truth, torch.zeros_like(silhouette)))
