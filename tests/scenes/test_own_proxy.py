"""A proxy beside the folder's own is another edit: what is true of the folder's edit is not true of it."""

import shutil
from pathlib import Path

from qnerf.scenes.reader import read_scene
from qnerf.scenes.scene import Scene
from qnerf.scenes.settings import SceneSettings
from qnerf.scenes.writer import write_scene


def test_the_truth_is_of_the_folders_own_proxy_alone(scene: Scene, tmp_path: Path) -> None:
    folder = tmp_path / "scene"
    write_scene(folder, scene)
    shutil.copy(folder / "proxy.json", tmp_path / "other.json")
    size = scene.images.shape[-1]
    assert read_scene(SceneSettings(path=str(folder), size=size)).truth is not None
    own = read_scene(SceneSettings(path=str(folder), size=size, proxy=str(tmp_path / "other.json")))
    assert own.truth is None
    assert own.proxy is not None
