"""A proxy beside the folder's own is another edit: what is true of the folder's edit is not true of it."""

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from qnerf.common import places
from qnerf.scenes.bounds_file import CAPSULE_KEYS
from qnerf.scenes.problems import FARTHEST
from qnerf.scenes.proxies import read_proxy, write_proxy
from qnerf.scenes.proxy_file import BOX_KEYS
from qnerf.scenes.reader import read_scene
from qnerf.scenes.scene import Scene
from qnerf.scenes.settings import SceneSettings
from qnerf.scenes.writer import write_scene
from tests.documents import ROOT


def test_the_truth_is_of_the_folders_own_proxy_alone(scene: Scene, tmp_path: Path) -> None:
    folder = tmp_path / "scene"
    write_scene(folder, scene)
    shutil.copy(folder / "proxy.json", tmp_path / "other.json")
    size = scene.images.shape[-1]
    assert read_scene(SceneSettings(path=str(folder), size=size)).truth is not None
    own = read_scene(SceneSettings(path=str(folder), size=size, proxy=str(tmp_path / "other.json")))
    assert own.truth is None
    assert own.proxy is not None


def test_joints_that_keep_their_direction_are_written_and_read_by_name(scene: Scene, tmp_path: Path) -> None:
    assert scene.proxy is not None
    path = tmp_path / "proxy.json"
    write_proxy(path, scene.proxy)
    assert "keeps_direction" not in path.read_text()  # a file without stays what it was
    write_proxy(path, replace(scene.proxy, keeps_direction=(5, 0)))
    assert '"keeps_direction": [\n  "hand_l",\n  "head"\n ]' in path.read_text()
    assert read_proxy(path).keeps_direction == (5, 0)


def test_the_fox_ears_turn_rigidly_and_outwards_and_nothing_else_moves() -> None:
    proxy = read_proxy(places.resolve("asset:fox_ears.json", "scene.proxy", "proxies"))
    assert proxy.kind == "skeleton"
    assert proxy.source_bounds is not None
    moved = {name for name, a, b in zip(proxy.joints, proxy.source, proxy.target, strict=True) if not torch.equal(a, b)}
    assert moved == {"ear_tip_l", "ear_tip_r"}
    joint = {name: (a, b) for name, a, b in zip(proxy.joints, proxy.source, proxy.target, strict=True)}
    for side, other in ("l", "r"), ("r", "l"):
        base, tip = joint[f"ear_base_{side}"][0], joint[f"ear_tip_{side}"]
        ears = [point - base for point in tip]
        assert float(ears[1].norm() / ears[0].norm()) == pytest.approx(1, abs=0.01)
        angle = torch.acos(torch.dot(ears[0], ears[1]) / (ears[0].norm() * ears[1].norm()))
        assert 40 < math.degrees(float(angle)) < 60
        outwards = base - joint[f"ear_base_{other}"][0]
        assert ears[1] @ outwards > ears[0] @ outwards
        assert ears[1][2] < ears[0][2]


def test_the_documents_three_examples_are_read_and_the_schema_has_the_reader_s_keys(tmp_path: Path) -> None:
    page = (ROOT / "docs/proxy.md").read_text(encoding="utf-8")
    examples = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 3
    for text in examples:
        (tmp_path / "proxy.json").write_text(text)
        assert read_proxy(tmp_path / "proxy.json").kind == json.loads(text)["kind"]
    defined = json.loads((ROOT / "docs/proxy.schema.json").read_text(encoding="utf-8"))["$defs"]
    assert set(defined["box"]["properties"]) == BOX_KEYS
    assert set(defined["capsule"]["properties"]) == CAPSULE_KEYS
    assert defined["point"]["items"]["maximum"] == FARTHEST
