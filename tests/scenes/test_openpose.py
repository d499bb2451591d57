"""OpenPose's drawing against a literal one, names of joints, and keypoints that a camera cannot see."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from qnerf.errors import UserError
from qnerf.scenes.bounds import BOX_EDGES
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.drawings import Sources, draw, read_drawings
from qnerf.scenes.openpose import COLOURS, draw_openpose, draw_pose, keypoints, visible
from qnerf.scenes.openpose_joints import JOINTS as OPENPOSE
from qnerf.scenes.openpose_joints import head_joint, missing_joints, openpose_joints
from qnerf.scenes.scene import Proxy, Scene
from tests.scenes.conftest import BONES, JOINTS, ring_cameras

# METHOD's facts of controlnet_aux's drawing: limbs by joints counted from 1, colours of joints and limbs.
PAIRS = "2-3 2-6 3-4 4-5 6-7 7-8 2-9 9-10 10-11 2-12 12-13 13-14 2-1 1-15 15-17 1-16 16-18"
RGB = (
    "255,0,0 255,85,0 255,170,0 255,255,0 170,255,0 85,255,0 0,255,0 0,255,85 0,255,170 0,255,255 0,170,255 0,85,255 0,0,255 "
    "85,0,255 170,0,255 255,0,255 255,0,170 255,0,85"
)

SMPL = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle", "spine3"),
    *("left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist"),
)
MIXAMO = (
    *("Hips", "Spine", "Spine1", "Spine2", "Neck", "Head", "HeadTop_End", "LeftShoulder", "LeftArm", "LeftForeArm", "LeftHand"),
    *("RightShoulder", "RightArm", "RightForeArm", "RightHand", "LeftUpLeg", "LeftLeg", "LeftFoot", "LeftToeBase"),
    *("RightUpLeg", "RightLeg", "RightFoot", "RightToeBase"),
)
BODY_25 = (
    *("Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist", "MidHip", "RHip", "RKnee", "RAnkle"),
    *("LHip", "LKnee", "LAnkle", "REye", "LEye", "REar", "LEar", "LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel"),
)
COCO_17 = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
    *("left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)


def reference(pixels: np.ndarray, there: np.ndarray, size: int) -> np.ndarray:
    """Filled ellipses of half-width 4 at 512 px, all times .6, then discs of radius 4, written out."""
    reach, canvas = round(4 * size / 512), np.zeros((size, size, 3), dtype=np.uint8)
    colours = [tuple(map(int, rgb.split(","))) for rgb in RGB.split()]
    for (a, b), colour in zip((map(int, pair.split("-")) for pair in PAIRS.split()), colours, strict=False):
        if there[a - 1] and there[b - 1]:
            (x1, y1), (x2, y2) = pixels[a - 1], pixels[b - 1]
            length, angle = math.hypot(x1 - x2, y1 - y2), math.degrees(math.atan2(y1 - y2, x1 - x2))
            middle = (int((x1 + x2) / 2), int((y1 + y2) / 2))
            cv2.ellipse(canvas, middle, (int(length / 2), reach), int(angle), 0, 360, colour, cv2.FILLED)
    canvas = (canvas * 0.6).astype(np.uint8)
    for joint in np.flatnonzero(there):
        cv2.circle(canvas, (int(pixels[joint, 0]), int(pixels[joint, 1])), reach, colours[joint], cv2.FILLED)
    return canvas


@pytest.mark.parametrize("size", [512, 768])
def test_twenty_random_poses_are_drawn_as_the_reference_draws_them(size: int) -> None:
    random = np.random.default_rng(size)
    shares = []
    for _ in range(20):
        pixels, there = random.uniform(0.1, 0.9, (18, 2)) * size, random.uniform(size=18) > 0.15
        ours, theirs = draw_pose(pixels, there, (size, size)), reference(pixels, there, size)
        a, b = ours.any(axis=2), theirs.any(axis=2)
        shares.append((a & b).sum() / (a | b).sum())
        assert (ours == theirs).all(axis=2)[a & b].mean() > 0.97, "colours, but where rims of two limbs cross"
        inner = {tuple(colour) for colour in np.unique(ours[a], axis=0).tolist()}
        assert inner <= {tuple(c) for c in (*COLOURS.tolist(), *(COLOURS[:17] * 0.6).astype(np.uint8).tolist())}
    assert min(shares) >= 0.95


@pytest.mark.parametrize("names", [OPENPOSE, COCO_17, BODY_25, SMPL, MIXAMO, tuple(f"mixamorig:{n}" for n in MIXAMO), JOINTS])
def test_skeletons_of_all_kinds_have_the_body_by_their_names(names: tuple[str, ...]) -> None:
    assert missing_joints(names) == []
    found = openpose_joints(names)
    for joint, sides in ((4, "rR"), (7, "lL")):  # the wrists
        (source,) = found[joint]
        assert names[source].removeprefix("mixamorig:")[0] in sides or names[source].endswith(sides[0]), names[source]
    assert (head_joint(names) is None) == ("ose" in "".join(names))


def test_names_that_mean_other_joints_elsewhere() -> None:
    assert openpose_joints(COCO_17)[1] == (6, 5), "the neck is between the shoulders"
    assert MIXAMO[openpose_joints(MIXAMO)[5][0]] == "LeftArm", "Mixamo's LeftShoulder is the collar bone"
    assert missing_joints(("head", "tail")) == [
        name for name in OPENPOSE if "ye" not in name and "ear" not in name and name != "nose"
    ]


def proxy_of(figure: torch.Tensor) -> Proxy:
    return Proxy("skeleton", JOINTS, BONES, figure, figure)


def test_from_behind_no_face_is_drawn_and_from_the_side_one_ear(figure: torch.Tensor) -> None:
    """The figure faces -y: the ring's cameras see it from the front, its left, behind and its right."""
    points, there = keypoints(proxy_of(figure), "source")
    assert there.all()
    seen = visible(points, there, ring_cameras(4, 64, 75.0).positions.double().numpy())
    assert seen[0].all(), "from the front"
    face = {name: seen[:, OPENPOSE.index(name)].tolist() for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")}
    assert face["nose"] == [True, True, False, True]
    assert face["left_eye"] == [True, True, False, False]
    assert face["right_ear"] == [True, False, True, True]
    nose = COLOURS[0].tolist()
    drawn = draw_openpose(proxy_of(figure), "source", ring_cameras(4, 64, 75.0), (512, 512))
    has_nose = [(view.permute(1, 2, 0) * 255 == torch.tensor(nose)).all(dim=-1).any().item() for view in drawn]
    assert has_nose == [True, True, False, True]


def test_a_hand_behind_the_back_is_left_out(figure: torch.Tensor) -> None:
    hidden = figure.clone()
    hidden[JOINTS.index("hand_r")] = torch.tensor([0.0, 0.35, 1.15])
    points, there = keypoints(proxy_of(hidden), "source")
    seen = visible(points, there, ring_cameras(4, 64, 75.0).positions.double().numpy())
    assert seen[:, OPENPOSE.index("right_wrist")].tolist() == [False, True, True, True]


def test_a_joint_is_where_it_projects_and_outside_the_picture_it_is_none(figure: torch.Tensor, cameras: Cameras) -> None:
    drawn = draw_openpose(proxy_of(figure), "source", cameras, (512, 512))
    points, _ = keypoints(proxy_of(figure), "source")
    pixels, _ = cameras.resized(512, 512).project(torch.from_numpy(points).float())
    for joint in (4, 7, 10, 13):
        x, y = pixels[0, joint].long().tolist()
        assert (drawn[0, :, y, x] * 255).tolist() == COLOURS[joint].tolist()
    aside = np.full((18, 2), 100.0)
    aside[4] = [600.0, 100.0]
    assert not (draw_pose(aside, np.ones(18, dtype=bool), (512, 512)) == COLOURS[4]).all(axis=2).any()


def test_proxies_that_are_no_figures_are_refused(figure: torch.Tensor, cameras: Cameras) -> None:
    box = Proxy("box", tuple("abcdefgh"), BOX_EDGES, torch.rand(8, 3), torch.rand(8, 3))
    with pytest.raises(UserError, match="is a box, which has no joints to draw"):
        draw_openpose(box, "source", cameras, (64, 64))
    lamp = Proxy("skeleton", ("base", "neck"), ((0, 1),), figure[:2], figure[:2])
    with pytest.raises(UserError, match=r"has no joints right_shoulder, .*COCO-17, COCO-18, BODY_25, SMPL-22, Mixamo"):
        draw_openpose(lamp, "source", cameras, (64, 64))


def test_drawings_of_ones_own(scene: Scene, tmp_path: Path) -> None:
    assert scene.proxy is not None
    pictures = np.random.default_rng(0).integers(0, 255, (len(scene.view_names), 64, 64, 3), dtype=np.uint8)
    for name, picture in zip(scene.view_names, pictures, strict=True):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    drawn = draw(scene, scene.proxy, "target", "images", (64, 64), Sources(str(tmp_path)))
    torch.testing.assert_close(drawn * 255, torch.from_numpy(pictures.transpose(0, 3, 1, 2)).float())
    Image.fromarray(pictures[0, :32]).save(tmp_path / f"{scene.view_names[1]}.png")
    with pytest.raises(UserError, match="is 64 x 32 pixels, expected 64 x 64"):
        read_drawings(str(tmp_path), scene.view_names, (64, 64), "control.source_images")
    (tmp_path / f"{scene.view_names[0]}.png").unlink()
    with pytest.raises(UserError, match=r"control\.source_images: .* no drawing for the view view_000"):
        read_drawings(str(tmp_path), scene.view_names, (64, 64), "control.source_images")
    with pytest.raises(UserError, match=r"control\.target_images: no value given"):
        draw(scene, scene.proxy, "target", "images", (64, 64), Sources())
