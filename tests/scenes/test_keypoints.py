"""Joints from keypoints: exact where these are, and near where some views are wrong; OpenPose's files and COCO's say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from qnerf import pose as command
from qnerf.errors import UserError
from qnerf.scenes.joints_found import Skeleton, find_joints
from qnerf.scenes.keypoints import BODY_25, COCO_17, LIMBS, read_keypoints
from qnerf.scenes.lens import fisheye_angle, straight_points
from qnerf.scenes.openpose_joints import JOINTS
from qnerf.scenes.proxies import read_proxy
from qnerf.scenes.settings import SceneSettings
from qnerf.scenes.triangulation import Sighting, refine, triangulate
from tests.scenes.captures import FOCAL, POSES, SIZE, document, write_capture

LENS = np.array([0.05, -0.02, 0.001, -0.002, 0.0])
KEYS = ("k1", "k2", "p1", "p2")
POINTS = np.random.default_rng(3).normal(size=(len(JOINTS), 3)) * 0.35 + [0.0, 0.0, 0.9]


def seen(points: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """(4, J, 2) pixels of the usual capture's photographs through `LENS`, by OpenCV."""
    matrix = np.array([[FOCAL, 0, SIZE / 2 - 0.5], [0, FOCAL, SIZE / 2 - 0.5], [0, 0, 1]])
    views = []
    for pose in POSES:
        local = (points - pose[:3, 3]) @ pose[:3, :3] @ np.diag([1.0, -1, -1])
        views.append(cv2.projectPoints(local[None], np.zeros(3), np.zeros(3), matrix, LENS)[0][:, 0] + 0.5)
    return np.stack(views) * scale


def write_openpose(folder: Path, pixels: np.ndarray, hidden: int | None = None) -> Path:
    """hidden: a joint that the first photograph alone shows."""
    folder.mkdir()
    for view, rows in enumerate(pixels):
        confidence = np.full(len(rows), 0.9)
        confidence[[] if hidden is None or not view else [hidden]] = 0.0
        flat = np.column_stack([rows, confidence]).ravel().tolist()
        people = [{"pose_keypoints_2d": [0.0, 0.0, 0.1] * len(rows)}, {"pose_keypoints_2d": flat}]
        (folder / f"{view:03d}_keypoints.json").write_text(json.dumps({"people": people}))
    return folder


@pytest.fixture
def capture(tmp_path: Path) -> SceneSettings:
    changed = {**document(), **dict(zip(KEYS, LENS.tolist(), strict=False))}
    return SceneSettings(path=str(write_capture(tmp_path / "scene", changed)), source_prompt="")


def found(capture: SceneSettings, folder: Path, **options: Any) -> Skeleton:
    return find_joints(capture, read_keypoints(folder), 0.3, **options)


def test_exact_keypoints_give_exact_joints(capture: SceneSettings, tmp_path: Path) -> None:
    skeleton = found(capture, write_openpose(tmp_path / "k", seen(POINTS)))
    assert skeleton.joints == JOINTS
    assert skeleton.missing == ()
    np.testing.assert_allclose(skeleton.points, POINTS, atol=1e-6)
    assert max(each.error for each in skeleton.found) < 1e-3
    assert {tuple(skeleton.joints[end] for end in bone) for bone in skeleton.bones} <= set(LIMBS)
    assert len(skeleton.bones) == 17


def test_a_view_that_is_wrong_is_left_out_and_a_joint_of_one_view_is_named(capture: SceneSettings, tmp_path: Path) -> None:
    pixels = seen(POINTS)
    pixels[2, 3] += (9.0, -4.0)
    skeleton = found(capture, write_openpose(tmp_path / "k", pixels, hidden=5), tolerance=0.5)
    joint = skeleton.joints.index(JOINTS[3])
    assert skeleton.found[joint].used.tolist() == [True, True, False, True]
    np.testing.assert_allclose(skeleton.points[joint], POINTS[3], atol=1e-6)
    assert skeleton.missing == (JOINTS[5],)
    assert skeleton.seen[joint] == 4


def test_noise_gives_the_least_reprojection_error(capture: SceneSettings) -> None:
    """No point near the refined one has a smaller weighted error."""
    noisy = seen(POINTS[:1])[:, 0] + np.random.default_rng(1).normal(size=(4, 2))
    flat = straight_points(noisy, np.full(2, FOCAL), np.full(2, SIZE / 2), LENS, False)
    sighting = Sighting(POSES, flat, np.full(4, FOCAL), np.array([1.0, 0.5, 0.8, 0.3]))

    def cost(point: np.ndarray) -> float:
        local = np.einsum("vij,vj->vi", np.diag([1.0, -1, -1]) @ POSES[:, :3, :3].transpose(0, 2, 1), point - POSES[:, :3, 3])
        missed = (local[:, :2] / local[:, 2:] - flat) * FOCAL
        return float((sighting.weights * (missed**2).sum(axis=1)).sum())

    best = refine(sighting, POINTS[0])
    for step in np.concatenate([np.eye(3), -np.eye(3)]) * 1e-3:
        assert cost(best) < cost(best + step)
    again = triangulate(sighting, 20.0)
    assert again is not None
    np.testing.assert_allclose(again.point, best, atol=1e-8)


def test_coco_says_the_same_as_openpose_in_another_size(capture: SceneSettings, tmp_path: Path) -> None:
    points = POINTS[[JOINTS.index(name) for name in COCO_17]]
    rows = [np.column_stack([view, np.full(len(view), 2)]).ravel().tolist() for view in seen(points, scale=2.0)]
    coco = {
        "images": [{"id": view, "file_name": f"images/{view:03d}.png", "width": 2 * SIZE, "height": 2 * SIZE} for view in range(4)],
        "annotations": [{"image_id": view, "keypoints": row} for view, row in enumerate(rows)],
        "categories": [{"keypoints": [*COCO_17], "skeleton": [[1, 2], [6, 8]]}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    skeleton = found(capture, tmp_path / "coco.json")
    np.testing.assert_allclose(skeleton.points, points, atol=1e-6)
    assert skeleton.bones == ((0, 1), (5, 7))


def test_a_fisheye_s_pixels_are_straightened() -> None:
    coefficients, focal, centre = np.array([0.05, -0.01, 0.002, 0.0]), np.array([40.0, 42.0]), np.array([61.0, 55.0])
    rays = np.array([[0.6, -0.45], [0.0, 0.0], [-1.5, 1.0]])
    away = np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-12)
    pixels = focal * rays / away * fisheye_angle(np.arctan(away), coefficients) + centre
    np.testing.assert_allclose(straight_points(pixels, focal, centre, coefficients, True), rays, atol=1e-5)


def test_the_command_writes_a_proxy_and_says_how_good_each_joint_is(
    capture: SceneSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raised = POINTS.copy()
    raised[4] += (0.0, 0.0, 0.2)
    source, target = write_openpose(tmp_path / "k", seen(POINTS)), write_openpose(tmp_path / "t", seen(raised))
    options = [capture.path, "--keypoints", str(source), "--out", str(tmp_path / "proxy.json")]
    assert command.main([*options, "--target", str(target)]) == 0
    proxy = read_proxy(tmp_path / "proxy.json")
    np.testing.assert_allclose(proxy.source.numpy(), POINTS, atol=1e-5)
    np.testing.assert_allclose(proxy.target.numpy(), raised, atol=1e-5)
    assert "right_wrist         4      4       0.00" in capsys.readouterr().out
    assert command.main(options) == 0
    assert "The target is the source" in capsys.readouterr().out
    assert command.main([capture.path, "--keypoints", str(tmp_path / "none")]) == 2
    assert command.main([capture.path, "--target", str(target)]) == 2
    errors = capsys.readouterr().err
    assert "has no JSON files" in errors
    assert "--target: the page, without --keypoints does not read it" in errors


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        ("--keypoints k --views 4 --proxy x", ["--proxy: --keypoints does not read it", "--views: --keypoints does not read it"]),
        (
            "--keypoints k --confidence 7 --tolerance 0",
            ["--confidence: got 7; expected", "--tolerance: got 0; expected pixels above 0"],
        ),
        ("--out . --views 1", ["--out: . is a folder; expected a file to write", "--views: got 1"]),
        ("--views 1 --tolerance 2", ["--views: got 1; expected at least 2", "--tolerance: the page"]),
    ],
)
def test_options_that_mean_nothing_are_told_together(words: str, sentences: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["scene", *words.split()]) == 2
    told = capsys.readouterr().err
    assert all(sentence in told for sentence in sentences), told


def test_a_joint_of_one_pose_alone_is_told(capture: SceneSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = write_openpose(tmp_path / "k", seen(POINTS)), write_openpose(tmp_path / "t", seen(POINTS), hidden=4)
    options = ["--keypoints", str(source), "--target", str(target), "--out", str(tmp_path / "proxy.json")]
    assert command.main([capture.path, *options]) == 0
    assert "Found in one of the two poses alone: right_wrist. Those before the edit stay" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, "has neither 'people' .* nor 'annotations'"),
        ({"people": []}, "keypoints of nobody"),
        ({"people": [{"pose_keypoints_2d": [1, 2]}]}, "expected a flat list of x, y, confidence"),
        ({"people": [{"pose_keypoints_2d": [1.0] * 12}]}, "has 4 joints, expected 18, 25, 17"),
        ({"annotations": [{"image_id": 1, "keypoints": [1.0] * 51}]}, "of no image in it"),
        ({"annotations": [], "categories": [{"keypoints": [1]}]}, "without names of its joints"),
        ({"annotations": [], "categories": [{"keypoints": 5}]}, "without names of its joints"),
        ({"annotations": [], "categories": [{"keypoints": {"a": 1}}]}, "without names of its joints"),
        ({"annotations": [{"image_id": [], "keypoints": [10**400]}]}, "expected a flat list"),
    ],
)
def test_keypoints_that_are_none(document: dict[str, Any], expected: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=expected):
        read_keypoints(tmp_path)


def test_keypoints_of_other_photographs_are_told(capture: SceneSettings, tmp_path: Path) -> None:
    folder = write_openpose(tmp_path / "k", seen(POINTS))
    for path in folder.iterdir():
        path.rename(path.with_name(f"frame_{path.name}"))
    with pytest.raises(UserError, match="0 photographs have keypoints, expected 2 and more"):
        found(capture, folder)
    assert set(BODY_25) > set(COCO_17)
