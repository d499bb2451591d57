"""A capture's own depth: read in both of its forms, fitted as the photographs are, and drawn in the place of a radiance field's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from qnerf.config import RunSettings
from qnerf.errors import UserError
from qnerf.runs import source_depth
from qnerf.runs.identity import Inputs, read_inputs
from qnerf.runs.stages import Stages
from qnerf.runs.work import ALONE
from qnerf.scenes.capture_depth import capture_depth, read_depth_values
from qnerf.scenes.depth_map import axis_cosine
from qnerf.scenes.loose_depth import bounds_distance
from qnerf.scenes.reader import read_scene
from qnerf.scenes.scene import Scene
from qnerf.scenes.settings import SceneSettings
from tests.scenes.captures import PROXY, SIZE, document, write_capture

WALL = 9.0  # distance along the rays of what is behind the proxy's box
DRAWN = ("+exp=photographs", "schedule=progressive", "backbone.controlnet=x/y", "backbone.control.kind=depth")


def read(folder: Path, **changes: Any) -> Scene:
    return read_scene(SceneSettings(path=str(folder), size=SIZE, proxy=str(folder / "box.json"), **changes))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.Tensor, np.ndarray]:
    """Distance along the rays (4, 48, 48) of a box before a wall, and the same as depth along the axis."""
    folder = write_capture(tmp_path_factory.mktemp("plain"))
    (folder / "box.json").write_text(json.dumps(PROXY))
    scene = read(folder)
    assert scene.proxy is not None
    assert scene.depths is None
    box = bounds_distance(scene.proxy, "source", scene.cameras, (SIZE, SIZE))
    distance = torch.where(torch.isfinite(box), box, WALL)
    return distance, (distance * axis_cosine(scene.cameras, (SIZE, SIZE))).numpy()


def capture(folder: Path, axial: np.ndarray, form: str, **keys: Any) -> Path:
    """A capture with depth: `.npy` of lengths, or PNG of whole numbers, 1000 a unit."""
    changed = {**document(), **keys}
    for view, (entry, values) in enumerate(zip(changed["frames"], axial, strict=True)):
        path = folder / "depth" / f"{view}.{form}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if form == "npy":
            np.save(path, values[..., None].astype(np.float32))
        else:
            path.write_bytes(cv2.imencode(".png", np.rint(values * 1000).astype(np.uint16))[1].tobytes())
        entry["depth_file_path" if form == "npy" else "depth_path"] = f"depth/{view}.{form}"
    write_capture(folder, changed)
    (folder / "box.json").write_text(json.dumps(PROXY))
    return folder


@pytest.mark.parametrize("form", ["npy", "png"])
def test_depth_along_the_axis_becomes_distance_along_the_rays(
    expected: tuple[torch.Tensor, np.ndarray], form: str, tmp_path: Path
) -> None:
    distance, axial = expected
    scene = read(capture(tmp_path, axial, form))
    torch.testing.assert_close(capture_depth(scene, (SIZE, SIZE), True), distance, rtol=0, atol=1e-3)


def test_it_is_cut_and_scaled_as_the_photographs_and_holes_are_filled(
    expected: tuple[torch.Tensor, np.ndarray], tmp_path: Path
) -> None:
    """Depth images of a third of the photographs' side, with a hole, in the middle of which the wall is."""
    _, axial = expected
    small = axial[:, 1::3, 1::3].copy()
    small[:, :2, :2] = 0
    small[:, 0, 5] = np.nan
    scene = read(capture(tmp_path, small, "npy"))
    found = capture_depth(scene, (24, 24), True)
    assert found.shape == (4, 24, 24)
    wall = capture_depth(read(capture(tmp_path / "whole", axial, "npy")), (24, 24), True)
    assert (found[:, :3, :3] / wall[:, :3, :3] - 1).abs().max() < 0.1
    assert (found / wall - 1).abs().median() < 0.02
    small[0] = 0
    with pytest.raises(UserError, match=r"depth/0.npy has no depth above 0"):
        capture_depth(read(capture(tmp_path / "empty", small, "npy")), (24, 24), True)


def test_depth_of_another_unit_than_the_cameras_is_refused(expected: tuple[torch.Tensor, np.ndarray], tmp_path: Path) -> None:
    folder = capture(tmp_path, expected[1], "png", integer_depth_scale=0.01)
    with pytest.raises(UserError, match=r"is 10 times the proxy's distance .* write integer_depth_scale .*\(now 0.01\)"):
        capture_depth(read(folder), (SIZE, SIZE), True)
    capture(folder, expected[1], "png", integer_depth_scale=-1)
    with pytest.raises(UserError, match="integer_depth_scale = -1, expected a length above 0"):
        read(folder)


def test_files_that_are_no_depth_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"no array")
    np.save(tmp_path / "b.npy", np.zeros((2, 3, 3)))
    (tmp_path / "c.png").write_bytes(cv2.imencode(".png", np.zeros((4, 4), dtype=np.uint8))[1].tobytes())
    for name, said in (("a.npy", "cannot be read as an array"), ("b.npy", r"of shape \(2, 3, 3\)"), ("c.png", "of mode L")):
        with pytest.raises(UserError, match=rf"{name} .*{said}"):
            read_depth_values(tmp_path / name, 1.0)


def test_a_run_takes_it_and_trains_no_field_for_it(
    expected: tuple[torch.Tensor, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = capture(tmp_path, expected[1], "npy")
    monkeypatch.setattr(source_depth, "source_field", lambda *_: pytest.fail("the capture has depth"))
    settings = RunSettings.compose(*DRAWN, f"scene.path={folder}", f"scene.proxy={folder}/box.json", "scene.size=64")
    found = source_depth.source_depth(settings, read(folder), (SIZE, SIZE), ALONE)
    torch.testing.assert_close(found, expected[0], rtol=0, atol=1e-4)

    def stages(depth: str | None) -> Stages:
        return Stages(settings, Inputs("scene", "weights", depth=depth))

    assert "source_field" in [key.stage for key in stages(None).all()]
    assert "source_field" not in [key.stage for key in stages("a").all()]
    assert len({stages(depth).inversion().identity for depth in (None, "a", "b")}) == 3
    assert read_inputs(settings).depth is not None
