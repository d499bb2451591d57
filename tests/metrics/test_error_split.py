"""The error of the mean over views and the variance between views, by hand and against a loop over points."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

from qnerf.metrics.error_split import LEAST_VIEWS, MOST_OTHERS, compared_shifts, split_error
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.scene import Truth
from qnerf.scenes.warping import surface_points
from tests.metrics.test_warp import SIZE, cameras_at, everywhere, plane_depth


@pytest.fixture
def plane() -> tuple[Cameras, Truth]:
    """Four cameras over the plane z = -2, which is the whole object and grey."""
    cameras = cameras_at([[0.0, 0.0, 0.0], [0.25, 0.0, 0.0], [0.0, 0.25, 0.0], [0.25, 0.25, 0.0]])
    depth, everything = plane_depth(cameras, -2.0), everywhere(cameras)
    grey = torch.full((4, 3, *depth.shape[1:]), 0.5)
    return cameras, Truth(grey, depth, depth, everything, everything, everything)


@pytest.mark.parametrize(
    ("errors", "of_mean", "about_mean"),
    [((0.2, 0.2, 0.2, 0.2), 0.04, 0.0), ((0.2, -0.2, 0.2, -0.2), 0.0, 0.04), ((0.4, 0.0, 0.0, 0.0), 0.01, 0.03)],
)
def test_an_error_is_split_into_that_of_the_views_mean_and_theirs_about_it(
    plane: tuple[Cameras, Truth], errors: tuple[float, ...], of_mean: float, about_mean: float
) -> None:
    cameras, truth = plane
    edited = truth.edited_images + torch.tensor(errors)[:, None, None, None]
    middle = torch.zeros_like(truth.silhouette_edited)
    middle[0, 6:-6, 6:-6] = True  # which all four see
    found = split_error(edited, truth, middle, cameras, 0.1)
    assert found[0] == pytest.approx(of_mean, abs=1e-6)
    assert found[1] == pytest.approx(about_mean, abs=1e-6)


def test_the_parts_of_an_error_are_those_of_a_loop_over_points(plane: tuple[Cameras, Truth]) -> None:
    """Errors that vary linearly in space survive resampling, so that what each view shows of a point is known without it."""
    cameras, truth = plane
    points = surface_points(truth.depth_edited, cameras)
    slope, offset = torch.tensor([0.3, -0.2, 0.1, 0.05]), torch.tensor([0.1, 0.0, -0.05, 0.02])
    truth = replace(truth, edited_images=torch.zeros_like(truth.edited_images))
    error = slope[:, None, None] * points[..., 0] + offset[:, None, None]
    counted = torch.rand_like(truth.depth_edited) < 0.3
    found = split_error(error[:, None].repeat(1, 3, 1, 1), truth, counted, cameras, 0.1)
    of_mean, about_mean = [], []
    for view, row, column in counted.nonzero().tolist():
        point = points[view, row, column]
        shown = []
        for other in range(4):
            at = (cameras[[other]].project(point[None, None])[0][0, 0] - 0.5).tolist()
            if other == view or all(math.floor(a) >= 0 and math.floor(a) + 1 < SIZE for a in at):
                shown.append(float(slope[other] * point[0] + offset[other]))
        if len(shown) >= LEAST_VIEWS:
            mean = sum(shown) / len(shown)
            of_mean.append(mean**2)
            about_mean.append(sum((e - mean) ** 2 for e in shown) / len(shown))
    assert found[0] == pytest.approx(sum(of_mean) / len(of_mean), rel=1e-3)
    assert found[1] == pytest.approx(sum(about_mean) / len(about_mean), rel=1e-3)


def test_points_that_too_few_views_see_are_no_figure(plane: tuple[Cameras, Truth]) -> None:
    cameras, truth = plane
    two = replace(truth, **{name: getattr(truth, name)[:2] for name in ("edited_images", "depth_edited", "silhouette_edited")})
    assert all(math.isnan(part) for part in split_error(two.edited_images, two, two.silhouette_edited, cameras[[0, 1]], 0.1))


def test_many_views_are_compared_with_a_few_all_round() -> None:
    assert compared_shifts(MOST_OTHERS + 1) == list(range(1, MOST_OTHERS + 1))
    found = compared_shifts(500)
    assert (found[0], found[-1], len(set(found))) == (1, 499, MOST_OTHERS)
    assert max(b - a for a, b in itertools.pairwise(found)) <= 36
