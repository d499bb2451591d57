"""What is wrong with a scene is said in one sentence each, all of it together, before anything is computed."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from qnerf.errors import UserError
from qnerf.scenes.reader import read_scene
from qnerf.scenes.scene import Scene
from qnerf.scenes.settings import SceneSettings
from qnerf.scenes.writer import write_scene

Mutation = Callable[[Path], object]
BOX = {"centre": [0, 0, 0], "size": [1, 1, 1]}


@pytest.fixture
def folder(scene: Scene, tmp_path: Path) -> Path:
    write_scene(tmp_path / "noise", scene)
    return tmp_path / "noise"


def complaint(folder: Path | str, **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        read_scene(SceneSettings(**{"path": str(folder), "size": 64, **changes}))
    return str(caught.value)


def change(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def in_transforms(edit: Callable[[dict[str, Any]], Any]) -> Mutation:
    return lambda folder: change(folder / "transforms.json", edit)


def in_proxy(edit: Callable[[dict[str, Any]], Any]) -> Mutation:
    return lambda folder: change(folder / "proxy.json", edit)


def in_pose(row: int, column: int, value: float) -> Mutation:
    def edit(document: dict[str, Any]) -> None:
        document["frames"][1]["transform_matrix"][row][column] = value

    return in_transforms(edit)


def truncate(name: str, share: float = 0.6) -> Mutation:
    def cut(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])

    return cut


def as_truncated_jpeg(folder: Path) -> None:
    path = folder / "images" / "view_002.png"
    Image.open(path).save(path.with_suffix(".jpg"), quality=95)
    truncate("images/view_002.jpg")(folder)
    path.unlink()
    change(folder / "transforms.json", lambda t: t["frames"][2].update(file_path="images/view_002.jpg"))


MUTATIONS: dict[str, tuple[Mutation, str]] = {
    "no images": (lambda folder: shutil.rmtree(folder / "images"), "names 4 images, of which 0 exist"),
    "no transforms": (lambda folder: (folder / "transforms.json").unlink(), "transforms.json is missing"),
    "wrong JSON": (truncate("transforms.json"), "transforms.json is not valid JSON"),
    "a list": (lambda folder: (folder / "transforms.json").write_text("[1]"), "has no list 'frames'"),
    "no frames": (in_transforms(lambda t: t.update(frames=[])), "has no list 'frames'"),
    "no file_path": (in_transforms(lambda t: t["frames"][2].pop("file_path")), "frame 2 has no 'file_path'"),
    "truncated PNG": (truncate("images/view_001.png"), "view_001.png cannot be decoded"),
    "truncated JPEG": (as_truncated_jpeg, "view_002.jpg cannot be decoded (image file is truncated"),
    "not an image": (lambda folder: (folder / "images/view_003.png").write_text("hello"), "not an image"),
    "NaN pose": (in_pose(0, 3, math.nan), "frame 1 (images/view_001.png) has NaN or infinity"),
    "scaled pose": (in_pose(0, 0, 2.0), "rotation that is not orthonormal"),
    "pose of text": (in_transforms(lambda t: t["frames"][1].update(transform_matrix="up")), "no 4 x 4"),
    "zero focal": (in_transforms(lambda t: t.update(fl_x=0)), "has fl_x = 0, expected a number above 0"),
    "NaN focal": (in_transforms(lambda t: t.update(fl_y=math.nan)), "has fl_y = nan, expected a finite number"),
    "no focal": (in_transforms(lambda t: (t.pop("fl_x"), t.pop("fl_y"))), "neither fl_x nor camera_angle_x"),
    "panorama": (in_transforms(lambda t: t.update(camera_model="EQUIRECTANGULAR")), "camera_model 'EQUIRECTANGULAR'"),
    "other size": (
        in_transforms(lambda t: t.update(w=128)),
        "is 64 x 64 pixels, but transforms.json says w x h = 128 x 64",
    ),
    "no prompt": (in_transforms(lambda t: (t.pop("prompt"), t.pop("target_prompt"))), "set scene.source_prompt"),
    "wrong focus": (in_transforms(lambda t: t.update(focus=[0, 1])), "expected a point of three finite numbers"),
    "wrong radius": (in_transforms(lambda t: t.update(radius=-1)), "a length above 0"),
    "no target": (in_proxy(lambda p: p.pop("target")), "proxy.json has no 'target'"),
    "no kind": (in_proxy(lambda p: p.pop("kind")), "expected 'skeleton' or 'box'"),
    "short target": (in_proxy(lambda p: p["target"].pop()), "has target = 14 points, expected a list of 15"),
    "NaN target": (in_proxy(lambda p: p["target"][3].__setitem__(0, math.nan)), "has target of shoulder_l = [nan, "),
    "wrong bone": (
        in_proxy(lambda p: p["bones"].append([0, 15])),
        "the bone [0, 15], expected pairs of different indices of joints, 0 to 14",
    ),
    "no such joint": (
        in_proxy(lambda p: p.update(keeps_direction=["crown"])),
        "keeps_direction = ['crown'], expected a list of names out of joints",
    ),
    "flat box": (
        in_proxy(lambda p: p.update(kind="box", source={**BOX, "size": [1, 1, 0]}, target=BOX)),
        "expected three lengths above 0",
    ),
    "wrong box key": (
        in_proxy(lambda p: p.update(kind="box", source={"center": [0, 0, 0]}, target=BOX)),
        "expected the keys centre",
    ),
    "truth gone": (
        lambda folder: (folder / "truth/edited/view_000.png").unlink(),
        "truth/edited/view_000.png is missing",
    ),
    "truth scale": (lambda folder: (folder / "truth/truth.json").write_text("{}"), "has depth_scale = None"),
    "8-bit depth": (
        lambda folder: shutil.copy(folder / "images/view_000.png", folder / "truth/depth_edited/view_000.png"),
        "expected a 16-bit grey PNG",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_damaged_folder_gets_one_sentence(folder: Path, name: str) -> None:
    mutate, expected = MUTATIONS[name]
    mutate(folder)
    message = complaint(folder)
    assert expected in message
    assert str(folder) in message
    if name != "other size":  # which is said of every image
        assert "\n" not in message
        assert message.endswith(".")


def test_all_frames_problems_come_together(folder: Path) -> None:
    in_pose(0, 3, math.nan)(folder)
    in_transforms(lambda t: t["frames"][2].update(fl_x=-1))(folder)
    message = complaint(folder)
    assert message.startswith("2 problems in ")
    assert "frame 1" in message
    assert "frame 2" in message


def test_problems_of_images_proxy_and_truth_come_together(folder: Path) -> None:
    truncate("images/view_001.png")(folder)
    in_proxy(lambda p: p.pop("target"))(folder)
    (folder / "truth/edited/view_000.png").unlink()
    message = complaint(folder)
    assert message.startswith("3 problems in ")
    for part in ("view_001.png cannot be decoded", "no 'target'", "truth/edited/view_000.png is missing"):
        assert part in message


def test_paths_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    assert "does not exist, expected a folder with " in complaint(tmp_path / "nowhere")
    assert "is a file" in complaint(folder / "proxy.json")
    assert "box.json is missing" in complaint(folder, proxy=str(tmp_path / "box.json"))
    assert "expected one that ships with the package (asset:puppet_a)" in complaint("asset:nobody")
    assert "scene.views is 9" in complaint(folder, views=9)


def test_a_frame_that_is_there_twice_is_one_view(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    change(folder / "transforms.json", lambda t: t["frames"].append(t["frames"][0]))
    scene = read_scene(SceneSettings(path=str(folder), size=32))
    assert len(set(scene.view_names)) == len(scene.images) == 4
    assert "view_000.png is listed more than once and is taken once" in caplog.text
