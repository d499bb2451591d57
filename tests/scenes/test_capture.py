"""A hand-held capture, made up: portrait JPEGs through a bent lens. A known point must end where its camera puts it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from qnerf.scenes.reader import read_scene
from qnerf.scenes.settings import SceneSettings
from tests.scenes.conftest import ring_cameras

WIDTH, HEIGHT = 270, 480
LENS = {"k1": 0.058, "k2": -0.08, "p1": -0.001, "p2": 0.0002}
POINT = np.array([0.1, -0.15, 1.0])


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Five photographs of a bright blob at POINT; every second one has a focal length of its own. One more is missing."""
    (tmp_path / "images").mkdir()
    frames: list[dict[str, Any]] = []
    for view, pose in enumerate(ring_cameras(5, HEIGHT, 340.0).camera_to_world.double().numpy()):
        fl_x, fl_y, cx, cy = 340.0 + 15 * (view % 2), 338.0 + 15 * (view % 2), 138.6, 241.3
        matrix = np.array([[fl_x, 0, cx - 0.5], [0, fl_y, cy - 0.5], [0, 0, 1]])
        local = np.diag([1.0, -1.0, -1.0]) @ pose[:3, :3].T @ (POINT - pose[:3, 3])  # OpenCV's axes
        seen = cv2.projectPoints(local[None], np.zeros(3), np.zeros(3), matrix, np.array([*LENS.values()]))[0][0, 0]
        rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
        blob = np.exp(-((columns - seen[0]) ** 2 + (rows - seen[1]) ** 2) / (2 * 8.0**2))
        cv2.imwrite(str(tmp_path / f"images/{view:04d}.jpg"), np.repeat(np.rint(blob * 255)[..., None], 3, axis=2))
        own = {"fl_x": fl_x, "fl_y": fl_y} if view % 2 else {}
        frames.append({"file_path": f"./images/{view:04d}.jpg", "transform_matrix": pose.tolist(), **own})
    frames.append({**frames[0], "file_path": "./images/0099.jpg"})
    head = {"fl_x": 340.0, "fl_y": 338.0, "cx": 138.6, "cy": 241.3, "w": float(WIDTH), "h": float(HEIGHT), **LENS}
    (tmp_path / "transforms.json").write_text(json.dumps({**head, "frames": frames[::-1]}))
    return tmp_path


@pytest.mark.parametrize("crop", [True, False])
def test_a_point_is_seen_where_its_camera_puts_it(capture: Path, crop: bool) -> None:
    scene = read_scene(SceneSettings(path=str(capture), source_prompt="a light", size=96, crop=crop))
    assert scene.view_names == ("0000", "0001", "0002", "0003", "0004")
    assert scene.images.shape == (5, 3, 96, 96)
    weight = (scene.images.mean(dim=1) - 0.05).clamp_min(0)
    weight = weight / weight.sum(dim=(1, 2), keepdim=True)
    pixel = torch.arange(96) + 0.5
    found = torch.stack([(weight.sum(dim=1) * pixel).sum(dim=1), (weight.sum(dim=2) * pixel).sum(dim=1)], dim=1)
    expected, _ = scene.cameras.project(torch.tensor(POINT, dtype=torch.float32)[None])
    torch.testing.assert_close(found, expected[:, 0], atol=0.06, rtol=0.0)


def test_focus_and_radius_come_from_the_cameras(capture: Path) -> None:
    scene = read_scene(SceneSettings(path=str(capture), source_prompt="a light", size=64))
    torch.testing.assert_close(scene.focus, torch.tensor([0.0, 0.0, 0.9]), atol=1e-4, rtol=0.0)
    assert scene.radius == pytest.approx(0.5 * np.hypot(3.0, 0.5), rel=1e-5)
    assert (scene.source_prompt, scene.target_prompt) == ("a light", "a light")
