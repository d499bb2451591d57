"""Which images become views: by a number, every k-th, by names, and by farthest points of directions, against a plain loop."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from qnerf.errors import UserError
from qnerf.scenes.reader import read_scene
from qnerf.scenes.settings import SceneSettings
from qnerf.scenes.view_choice import chosen_views, farthest, spread_evenly
from tests.scenes.captures import write_capture

NAMES = ("a", "b", "c", "d", "e", "f", "g")


def looking_at(places: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Poses (N, 4, 4) of cameras at places (N, 3) that look at a point."""
    poses = np.tile(np.eye(4), (len(places), 1, 1))
    for pose, place in zip(poses, places, strict=True):
        back = (place - point) / np.linalg.norm(place - point)
        right = np.cross([0.0, 0.0, 1.0], back) / np.linalg.norm(np.cross([0.0, 0.0, 1.0], back))
        pose[:3, :4] = np.stack([right, np.cross(back, right), back, place], axis=1)
    return poses


def settings(views: Any, path: Path | str = "x") -> SceneSettings:
    return SceneSettings.model_validate({"path": str(path), "size": 48, "source_prompt": "a ball", "views": views})


@pytest.mark.parametrize(
    ("views", "expected"),
    [(None, None), (12, 12), ("12", 12), ("every:3", "every:3"), (["b", "a"], ("a", "b")), ([7, "a"], ("7", "a"))],
)
def test_a_choice_is_checked_and_written_in_one_way(views: Any, expected: Any) -> None:
    assert settings(views).views == expected


@pytest.mark.parametrize(
    "views", [1, 0, -3, 2.5, True, "two", "every:0", "farthest:1", "every:", ["a"], ["a", "a"], ["a", ""], [], {}]
)
def test_what_is_no_choice_is_refused_with_what_is_expected(views: Any) -> None:
    with pytest.raises(ValidationError, match=f"got {re.escape(repr(views))}; expected a whole number from 2, every:<k>"):
        settings(views)


def test_views_by_number_by_every_kth_and_by_name() -> None:
    poses = np.tile(np.eye(4), (7, 1, 1))
    found = {views: chosen_views(settings(views).views, NAMES, 2, "here", poses) for views in (None, 3, "every:3", "every:1")}
    assert found == {None: [*range(7)], 3: [0, 2, 4], "every:3": [0, 3, 6], "every:1": [*range(7)]}
    assert chosen_views(("f", "b"), NAMES, 2, "here", None) == [1, 5]
    assert spread_evenly(50, 12) == [0, 4, 8, 12, 16, 20, 25, 29, 33, 37, 41, 45]
    refused = {
        8: "scene.views is 8, but here has 7 images",
        "farthest:8": "scene.views is farthest:8, but here has 7 images",
        "every:7": "leaves 1 of the 7 images of here, expected 2",
        ("a", "h"): "scene.views names h, but here has no such views, expected some of a, b, c, …",
        "farthest:2": "the images of here have no cameras",
    }
    for views, said in refused.items():
        with pytest.raises(UserError, match=re.escape(said)):
            chosen_views(views, NAMES, 2, "here", None)


@pytest.mark.parametrize("centre", [(0.0, 0.0, 0.0), (5e5, -3.0, 2.0)])
def test_farthest_points_are_those_of_a_plain_loop_over_angles(centre: tuple[float, float, float]) -> None:
    """A crowd of cameras on one side at many distances, few elsewhere: evenly spread views would nearly all be of the crowd."""
    rng = np.random.default_rng(0)
    angles = np.concatenate([rng.uniform(0, 0.3, 20), [1.5, 3.0, 4.5]])
    heights, away = rng.uniform(0.2, 0.6, 23), rng.uniform(2, 6, 23)
    directions = np.stack([np.cos(angles), np.sin(angles), heights], axis=1)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    poses = looking_at(np.array(centre) + away[:, None] * directions, np.array(centre))
    expected = [0]
    while len(expected) < 6:
        gaps = [min(np.arccos(np.clip(d @ directions[i], -1, 1)) for i in expected) for d in directions]
        expected.append(int(np.argmax(gaps)))
    assert farthest(poses, 6) == sorted(expected)
    assert set(farthest(poses, 4)) >= {20, 21, 22}
    assert farthest(poses, 23) == [*range(23)]


def test_cameras_that_look_in_one_direction_are_told_apart_by_their_places() -> None:
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[:, 0, 3] = [0.0, 0.1, 1.0, 0.4, 0.9]
    assert farthest(poses, 3) == [0, 2, 3]
    poses[:, 0, 3] = 1.0
    assert farthest(poses, 3) == [0, 1, 2]  # all at one place


def test_a_capture_is_read_with_the_views_that_are_chosen(tmp_path: Path) -> None:
    folder = write_capture(tmp_path)
    whole = read_scene(settings(None, folder))
    for views, expected in ((["003", "001"], ["001", "003"]), ("every:3", ["000", "003"]), ("farthest:2", ["000", "002"])):
        some = read_scene(settings(views, folder))
        assert [*some.view_names] == expected
        index = [whole.view_names.index(name) for name in expected]
        np.testing.assert_array_equal(some.images.numpy(), whole.images[index].numpy())
        np.testing.assert_array_equal(some.cameras.camera_to_world.numpy(), whole.cameras.camera_to_world[index].numpy())
