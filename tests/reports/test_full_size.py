"""The edit at the photographs' own resolution, worked by hand; a capture's is a capture again."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from qnerf.reports import full_size
from qnerf.reports.full_size import edit_photograph, export_full_size
from qnerf.scenes.reader import read_scene
from qnerf.scenes.scene import Scene
from qnerf.scenes.settings import SceneSettings
from tests.scenes.conftest import ring_cameras

GREY, RED = np.full((4, 4, 3), 0.4, np.float32), np.tile(np.array([0.8, 0.2, 0.2], np.float32), (4, 4, 1))


def test_an_edited_photograph_by_hand() -> None:
    """Of 24 x 16 pixels, the middle 16 x 16 seen as 4 x 4, the left half of which turns red."""
    photograph = np.full((16, 24, 3), 102, np.uint8)
    photograph[::2, ::2] = 110  # detail that the model never saw
    mask = np.zeros((4, 4), np.float32)
    mask[:, :2] = 1
    found = edit_photograph(photograph, (4, 0, 16, 16), GREY, RED, mask)
    assert np.array_equal(found[:, :4], photograph[:, :4]), "beside the window"
    assert np.array_equal(found[:, 14:], photograph[:, 14:]), "where the mask is 0, of the pixel of the view and of its neighbours"
    assert np.abs(found[:, 6:10].astype(int) - [204, 51, 51]).max() <= 1, "red, without the old pixels' detail"
    assert np.abs(found[:, 4] - photograph[:, 4].astype(float)).max() > 30, "at its left side the window is narrower than a pixel"


def test_what_the_edit_leaves_as_it_is_keeps_the_photographs_detail() -> None:
    photograph = np.full((16, 16, 3), 102, np.uint8)
    photograph[::2, ::2] = 110
    found = edit_photograph(photograph, (0, 0, 16, 16), GREY, GREY, np.ones((4, 4), np.float32))
    assert np.array_equal(found, photograph)


def test_the_edit_fades_where_the_photograph_goes_on() -> None:
    photograph = np.full((100, 140, 3), 102, np.uint8)
    found = edit_photograph(photograph, (20, 0, 100, 100), GREY, RED, np.ones((4, 4), np.float32))
    assert found[50, 19:25, 0].tolist() == [102, 119, 153, 187, 204, 204], "half a pixel of three, and on"
    assert (found[0, 30:110, 0] == 204).all(), "the photograph ends there, so the edit does not fade"


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Three photographs of 90 x 60 pixels through a bent lens."""
    rng, frames = np.random.default_rng(0), []
    (tmp_path / "images").mkdir()
    for view, pose in enumerate(ring_cameras(3, 60, 70.0).camera_to_world.tolist()):
        Image.fromarray(rng.integers(0, 256, (60, 90, 3), np.uint8)).save(tmp_path / "images" / f"{view}.png")
        frames.append({"file_path": f"images/{view}.png", "transform_matrix": pose})
    head = {"fl_x": 70.0, "fl_y": 70.0, "cx": 45.0, "cy": 30.0, "w": 90, "h": 60, "k1": 0.05}
    (tmp_path / "transforms.json").write_text(json.dumps({**head, "frames": frames}))
    return tmp_path


def read(folder: Path, **settings: object) -> Scene:
    return read_scene(SceneSettings.model_validate({"path": str(folder), "source_prompt": "a chair", "size": 32, **settings}))


@pytest.mark.parametrize("crop", [True, False])
def test_a_captures_photographs_are_a_capture_again(capture: Path, tmp_path: Path, crop: bool) -> None:
    """Whose views are those of the first, where its photographs stay as they are."""
    scene = read(capture, crop=crop)
    assert scene.photographs is not None
    export_full_size(tmp_path / "full", scene.images, torch.zeros(3, 32, 32), scene)
    for view, photograph in enumerate(scene.photographs):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "full" / f"{view}.png")), photograph.read().image)
    again = read(tmp_path / "full", crop=crop)
    assert torch.equal(again.images, scene.images)
    torch.testing.assert_close(again.cameras.focal, scene.cameras.focal)
    torch.testing.assert_close(again.cameras.centre, scene.cameras.centre)
    assert torch.equal(again.cameras.camera_to_world, scene.cameras.camera_to_world)


def test_photographs_are_read_one_by_one_when_they_are_written(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, order = read(capture), []
    write = full_size.write_image
    monkeypatch.setattr("qnerf.scenes.capture.read_image", lambda path, size: order.append("read") or np.asarray(Image.open(path)))
    monkeypatch.setattr(full_size, "write_image", lambda path, pixels: order.append("write") or write(path, pixels))
    export_full_size(tmp_path / "full", scene.images, torch.zeros(3, 32, 32), scene)
    assert order == ["read", "write"] * 3


def test_photographs_of_the_views_own_size_are_none(capture: Path) -> None:
    for path in (capture / "images").glob("*.png"):
        Image.open(path).crop((0, 0, 32, 32)).save(path)
    document = json.loads((capture / "transforms.json").read_text())
    document = {**document, "w": 32, "h": 32, "cx": 16.0, "cy": 16.0}
    (capture / "transforms.json").write_text(json.dumps(document))
    assert read(capture).photographs is None
