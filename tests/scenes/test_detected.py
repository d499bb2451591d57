"""Keypoints by rtmlib: through a module with rtmlib's own signatures, which is compared with the
package where that is installed; there, a model of our own is run by it, too. Where the package is
missing these two are skipped."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qnerf import pose as command
from qnerf.scenes.detected import APT_36K, Models, detect_keypoints
from qnerf.scenes.keypoints import COCO_17, read_keypoints
from qnerf.scenes.openpose_joints import JOINTS
from qnerf.scenes.proxies import read_proxy
from qnerf.scenes.settings import SceneSettings
from tests.scenes.captures import SIZE, write_capture
from tests.scenes.test_keypoints import KEYS, LENS, POINTS, document, seen

PEOPLE = POINTS[[JOINTS.index(name) for name in COCO_17]]


class Custom:
    """rtmlib.Custom of version 0.0.16, which finds in each photograph what `answers` has next."""

    answers: Iterator[tuple[np.ndarray, np.ndarray]]
    made: tuple[dict[str, Any], Any]
    shown: list[np.ndarray]

    def __init__(
        self,
        det_class: str | None = None,
        det: str | None = None,
        det_input_size: tuple = (640, 640),
        det_mode: str = "human",
        det_categories: list | None = None,
        pose_class: str | None = None,
        pose: str | None = None,
        pose_input_size: tuple = (192, 256),
        mode: str | None = None,
        to_openpose: bool = False,
        backend: str = "onnxruntime",
        device: str = "cpu",
    ) -> None:
        given = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        session = SimpleNamespace(get_inputs=lambda: [SimpleNamespace(shape=["batch", 3, 384, 288])])
        self.pose_model = SimpleNamespace(session=session, model_input_size=pose_input_size)
        self.det_model = SimpleNamespace(session=session, model_input_size=det_input_size)
        type(self).made = given, self

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.shown.append(image)
        return next(self.answers)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Models:
    """Files that are there, and the stand-in for rtmlib."""
    module = ModuleType("rtmlib")
    module.Custom = Custom  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rtmlib", module)
    Custom.shown = []
    for name in ("pose.onnx", "people.onnx"):
        (tmp_path / name).write_bytes(b"model")
    return Models(tmp_path / "pose.onnx", tmp_path / "people.onnx")


@pytest.fixture
def capture(tmp_path: Path) -> str:
    changed = {**document(), **dict(zip(KEYS, LENS.tolist(), strict=False))}
    return str(write_capture(tmp_path / "scene", changed))


def answers(joints: int, points: np.ndarray = PEOPLE) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What rtmlib gives: of two people the second is surer; pixels' centres are whole numbers.
    joints: as many as the model has."""
    for view in seen(points):
        rows = np.concatenate([view - 0.5, np.zeros((joints - len(view), 2))])
        yield np.stack([np.full_like(rows, 7.0), rows]), np.stack([np.full(joints, 0.4), np.full(joints, 0.9)])


@pytest.mark.parametrize("joints", [17, 26, 133])
def test_the_command_makes_keypoints_and_a_skeleton_of_them(
    joints: int, models: Models, capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of models with more joints, the first 17 are COCO's."""
    Custom.answers = answers(joints)
    words = ["--keypoints", str(tmp_path / "new/k"), "--detect", str(models.pose), "--out", str(tmp_path / "proxy.json")]
    assert command.main([capture, *words]) == 0
    proxy = read_proxy(tmp_path / "proxy.json")
    assert proxy.joints == COCO_17
    np.testing.assert_allclose(proxy.source.numpy(), PEOPLE, atol=1e-5)
    assert "keypoints of 4 photographs" in capsys.readouterr().out
    given, made = Custom.made
    assert given["pose"] == str(models.pose)
    assert (given["pose_class"], given["det_class"]) == ("RTMPose", None)
    assert made.pose_model.model_input_size == (288, 384)
    assert Custom.shown[0][0, 0].tolist() == [60, 240, 250]  # blue first
    again = [capture, "--keypoints", str(tmp_path / "new/k"), "--out", str(tmp_path / "again.json")]
    assert command.main(again) == 0
    assert (tmp_path / "again.json").read_text() == (tmp_path / "proxy.json").read_text()
    assert command.main([*again, "--detect", str(models.pose)]) == 2
    assert "has keypoints already" in capsys.readouterr().err


def test_animals_have_their_own_joints_and_their_own_finder(models: Models, capture: str, tmp_path: Path) -> None:
    Custom.answers = answers(17)
    animal = Models(models.pose, models.finder, "animal")
    assert detect_keypoints(SceneSettings(path=capture, source_prompt=""), animal, tmp_path / "k") == 4
    found = read_keypoints(tmp_path / "k")
    assert found.joints == APT_36K
    assert {found.joints[end] for bone in found.bones for end in bone} == set(APT_36K)
    np.testing.assert_allclose(found.views["001"][:, :2], seen(PEOPLE)[1], atol=1e-9)
    np.testing.assert_allclose(found.views["001"][:, 2], 0.9)
    given, made = Custom.made
    assert (given["det_class"], given["det"], given["det_mode"]) == ("YOLOX", str(models.finder), "multiclass")
    assert given["pose_class"] == "ViTPose"
    assert min(given["det_categories"]) == 14
    assert made.det_model.model_input_size == (384, 288)


def test_nobody_is_no_keypoint_and_what_is_no_number_is_none(models: Models, capture: str, tmp_path: Path) -> None:
    odd = np.full((1, 17, 2), 3.0)
    odd[0, 2] = np.nan
    nobody = np.zeros((0, 17, 2)), np.zeros((0, 17))
    Custom.answers = iter([nobody, (odd, np.ones((1, 17))), nobody, nobody])
    detect_keypoints(SceneSettings(path=capture, source_prompt=""), models, tmp_path / "k")
    found = read_keypoints(tmp_path / "k")
    assert list(found.views) == ["001"]
    assert found.views["001"][2].tolist() == [0, 0, 0]


def refused(capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert command.main([capture, "--keypoints", str(tmp_path / "k"), *words]) == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "k").exists()
    return said


def test_what_is_missing_is_told_in_a_sentence(
    models: Models, capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pose = str(models.pose)
    assert "none.onnx is no file, expected a model" in refused(capture, tmp_path, capsys, "--detect", str(tmp_path / "none.onnx"))
    assert "is no file" in refused(capture, tmp_path, capsys, "--detect", pose, "--finder", "https://a.example/yolox.zip")
    assert "--kind: without --detect" in refused(capture, tmp_path, capsys, "--kind", "RTMO")
    finder = ["--finder", str(models.finder), "--kind", "RTMO"]
    assert "--finder: an RTMO model finds people itself" in refused(capture, tmp_path, capsys, "--detect", pose, *finder)
    for joints in (5, 21, 25, 68):  # of 25, as OpenPose's BODY_25 has them, the neck is among the first 17
        Custom.answers = iter([(np.zeros((1, joints, 2)), np.zeros((1, joints)))])
        told = refused(capture, tmp_path, capsys, "--detect", pose)
        assert f"finds {joints} joints, expected 17 or 26 or 133" in told
    Custom.answers = iter([(np.zeros((1, 26, 2)), np.zeros((1, 26)))])
    assert "finds 26 joints, expected 17, of which" in refused(capture, tmp_path, capsys, "--detect", pose, "--kind", "animal")
    (tmp_path / "file").write_text("")
    assert command.main([capture, "--keypoints", str(tmp_path / "file"), "--detect", pose]) == 2
    assert "file is a file, expected a new folder" in capsys.readouterr().err
    Custom.answers = iter([(np.zeros((1, 17)), np.zeros((1, 17)))])
    assert "does not answer as a model of the kind RTMPose" in refused(capture, tmp_path, capsys, "--detect", pose)
    monkeypatch.setattr(Custom, "__init__", lambda self, **_: (_ for _ in ()).throw(RuntimeError("protobuf parsing failed")))
    assert "pose.onnx cannot be loaded by ONNX Runtime" in refused(capture, tmp_path, capsys, "--detect", pose)
    monkeypatch.setitem(sys.modules, "rtmlib", None)
    assert "rtmlib is not installed, which makes keypoints" in refused(capture, tmp_path, capsys, "--detect", pose)


def test_the_stand_in_has_the_package_s_signature() -> None:
    rtmlib = pytest.importorskip("rtmlib")

    def parameters(custom: Any) -> list[tuple[str, Any]]:
        return [(each.name, each.default) for each in inspect.signature(custom).parameters.values()]

    assert parameters(rtmlib.Custom) == parameters(Custom)
    assert list(inspect.signature(rtmlib.Custom.__call__).parameters) == list(inspect.signature(Custom.__call__).parameters)


def brightest(path: Path, height: int, width: int) -> None:
    """A model of RTMPose's form (SimCC, two bins a pixel) whose 17 joints all lie on the brightest
    row and column."""
    onnx = pytest.importorskip("onnx")
    make, kind = onnx.helper.make_node, onnx.TensorProto.FLOAT
    nodes = [make("ReduceMean", ["image"], ["grey"], axes=[1], keepdims=0)]
    constants = [onnx.numpy_helper.from_array(np.array([1, 17, 1], np.int64), "joints")]
    for name, axis, side in (("x", 1, width), ("y", 2, height)):
        constants.append(onnx.numpy_helper.from_array(np.array([1, 1, 2 * side], np.int64), f"bins_{name}"))
        constants.append(onnx.numpy_helper.from_array(np.array([1, side, 2], np.int64), f"twice_{name}"))
        constants.append(onnx.numpy_helper.from_array(np.array([1, side, 1], np.int64), f"once_{name}"))
        nodes += [
            make("ReduceMax", ["grey"], [f"line_{name}"], axes=[axis], keepdims=0),
            make("Reshape", [f"line_{name}", f"once_{name}"], [f"column_{name}"]),
            make("Expand", [f"column_{name}", f"twice_{name}"], [f"pairs_{name}"]),
            make("Reshape", [f"pairs_{name}", f"bins_{name}"], [f"row_{name}"]),
            make("Tile", [f"row_{name}", "joints"], [f"simcc_{name}"]),
        ]
    inputs = [onnx.helper.make_tensor_value_info("image", kind, [1, 3, height, width])]
    sizes = (("x", width), ("y", height))
    outputs = [onnx.helper.make_tensor_value_info(f"simcc_{name}", kind, [1, 17, 2 * side]) for name, side in sizes]
    graph = onnx.helper.make_graph(nodes, "brightest", inputs, outputs, constants)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), path)


@pytest.mark.parametrize(("height", "width"), [(256, 192), (384, 288)])
def test_the_package_itself_finds_a_dot_to_half_a_pixel(height: int, width: int, tmp_path: Path) -> None:
    """Through the package: files on this machine, the model's own size, colours, and where pixels'
    centres are."""
    pytest.importorskip("rtmlib")
    brightest(tmp_path / "pose.onnx", height, width)
    scene = write_capture(tmp_path / "scene")
    dots = np.random.default_rng(4).uniform(0.2 * SIZE, 0.8 * SIZE, (4, 2))
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    for view, (x, y) in enumerate(dots):
        glow = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
        Image.fromarray(np.repeat(glow[..., None], 3, axis=2).astype(np.uint8)).save(scene / f"images/{view:03d}.png")
    detect_keypoints(SceneSettings(path=str(scene), source_prompt=""), Models(tmp_path / "pose.onnx"), tmp_path / "k")
    assert json.loads((tmp_path / "k/keypoints.json").read_text())["images"][0]["width"] == SIZE
    found = read_keypoints(tmp_path / "k")
    for view, dot in enumerate(dots):
        np.testing.assert_allclose(found.views[f"{view:03d}"][:, :2], np.repeat(dot[None], 17, axis=0), atol=0.5)
