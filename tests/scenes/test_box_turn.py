"""A box turned about any axis: read, drawn, posed and written as it is, or refused in one sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from qnerf.errors import UserError
from qnerf.fields.posing.parts import parts_of
from qnerf.fields.posing.settings import PosingSettings
from qnerf.scenes.bounds import box_from_corners, proxy_bounds
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.loose_depth import bounds_distance
from qnerf.scenes.proxies import read_proxy, write_proxy
from qnerf.scenes.scene import Bounds, Proxy
from qnerf.scenes.solids import Box
from qnerf.scenes.world import World

TURNS = [cv2.Rodrigues(np.array(vector))[0] for vector in ((0.4, -0.9, 0.3), (-1.1, 0.2, 0.7))]
BITS = np.array([[k >> axis & 1 for axis in range(3)] for k in range(8)]) - 0.5
SIZES = np.array([[0.6, 0.9, 0.3], [0.6, 0.9, 0.4]])
CENTRE = np.array([0.1, -0.2, 0.9])
CORNERS = [CENTRE + (BITS * size) @ turn.T for size, turn in zip(SIZES, TURNS, strict=True)]
BOXES = [
    {"centre": CENTRE.tolist(), "size": size.tolist(), "rotation": turn.tolist()} for size, turn in zip(SIZES, TURNS, strict=True)
]
BONE = {
    "kind": "skeleton",
    "joints": ["a", "b"],
    "bones": [[0, 1]],
    "source": [[0, 0, 0.5], [0, 0, 1.3]],
    "target": [[0, 0, 1]] * 2,
}
WITH_SOLIDS = {**BONE, **{f"{state}_bounds": {"solids": [box]} for state, box in zip(("source", "target"), BOXES, strict=True)}}


def read(folder: Path, document: dict[str, Any], world: World | None = None) -> Proxy:
    path = folder / "proxy.json"
    path.write_text(json.dumps(document))
    return read_proxy(path) if world is None else read_proxy(path, world)


def solids(proxy: Proxy) -> list[Box]:
    found = [solid for state in ("source", "target") for solid in proxy_bounds(proxy, state).solids]
    assert all(isinstance(solid, Box) for solid in found)
    return [solid for solid in found if isinstance(solid, Box)]


def corners(box: Box) -> np.ndarray:
    return box.centre + (2 * BITS * box.half) @ box.turn.T


def test_a_box_by_its_rotation_and_by_its_corners_is_the_same(tmp_path: Path) -> None:
    by_rotation = read(tmp_path, {"kind": "box", "source": BOXES[0], "target": BOXES[1]})
    by_corners = read(tmp_path, {"kind": "box", "source": CORNERS[0].tolist(), "target": CORNERS[1].tolist()})
    torch.testing.assert_close(by_rotation.source, by_corners.source, rtol=0, atol=1e-6)
    torch.testing.assert_close(by_rotation.target, by_corners.target, rtol=0, atol=1e-6)
    for box, turn in zip(solids(by_corners), TURNS, strict=True):
        np.testing.assert_allclose(box.turn, turn, atol=1e-6)


@pytest.mark.parametrize("world", [World(), World((5.0, -2.0, 1.0), 4.0)])
def test_bounding_boxes_keep_their_orientation_through_file_and_back(world: World, tmp_path: Path) -> None:
    proxy = read(tmp_path, WITH_SOLIDS, world)
    for _ in range(2):
        for box, expected, turn in zip(solids(proxy), CORNERS, TURNS, strict=True):
            np.testing.assert_allclose(world.outward(corners(box)), expected, atol=1e-9)
            np.testing.assert_allclose(box.turn, turn, atol=1e-12)
        write_proxy(tmp_path / "again.json", proxy, units=world)
        assert set(json.loads((tmp_path / "again.json").read_text())["source_bounds"]["solids"][0]) == {
            "centre",
            "size",
            "rotation",
        }
        proxy = read_proxy(tmp_path / "again.json", world)


@pytest.mark.parametrize("yaw", [-170.0, -21.0, 0.0, 1e-4, 90.0])
def test_a_turn_about_z_is_written_as_yaw(yaw: float, tmp_path: Path) -> None:
    boxes = {"solids": [{"centre": [0, 0, 1], "size": [1, 2, 3], "yaw": yaw}]}
    write_proxy(tmp_path / "again.json", read(tmp_path, {**BONE, "source_bounds": boxes, "target_bounds": boxes}))
    assert json.loads((tmp_path / "again.json").read_text())["source_bounds"]["solids"][0]["yaw"] == pytest.approx(yaw, abs=1e-9)


def test_a_tilted_bounding_box_is_drawn_as_the_box_of_its_corners(tmp_path: Path, cameras: Cameras) -> None:
    """Against slabs: the ray's way between the three pairs of faces, each given by the corners."""
    drawn = bounds_distance(read(tmp_path, WITH_SOLIDS), "target", cameras, (48, 48))
    rays = cameras.resized(48, 48).token_rays(48, 48)
    edges = CORNERS[1][[1, 2, 4]] - CORNERS[1][0]
    for view in range(2):
        origin = rays.origins[view, 0, 0].double().numpy() - CORNERS[1][0]
        along = rays.directions[view].reshape(-1, 3).double().numpy()
        start, slope = edges @ origin / (edges**2).sum(1), along @ edges.T / (edges**2).sum(1)
        ends = np.sort([(0 - start) / slope, (1 - start) / slope], axis=0)
        near, far = ends[0].max(axis=1), ends[1].min(axis=1)
        expected = np.where(near < far, near, np.inf).reshape(48, 48)
        found = drawn[view].numpy()
        both = np.isfinite(found) & np.isfinite(expected)
        assert both.sum() > 50
        assert (np.isfinite(found) != np.isfinite(expected)).mean() < 0.01  # its edges are rounded
        assert np.quantile(np.abs(found[both] - expected[both]), 0.9) < 1e-3


def test_a_tilted_bounding_box_is_posed_to_where_its_corners_go(tmp_path: Path) -> None:
    part = parts_of(read(tmp_path, WITH_SOLIDS), PosingSettings(parts="solids"), torch.device("cpu"))[0]
    before, after = (torch.from_numpy(points).float() for points in CORNERS)
    torch.testing.assert_close(part.motion.forward(before), after, rtol=0, atol=1e-5)
    inside: Tensor = before.mean(0) + 0.99 * (before - before.mean(0))
    assert part.distance(inside).max() == 0
    assert part.distance(before + 0.02 * (before - before.mean(0))).min() > 0


def test_procedural_boxes_that_are_tilted_are_written_whole(tmp_path: Path) -> None:
    """`write_proxy` of bounds that no file gave."""
    proxy = read(tmp_path, BONE)
    box = box_from_corners(CORNERS[0])
    bounds = Bounds((box,), torch.from_numpy(CORNERS[0]).float())
    write_proxy(tmp_path / "again.json", replace(proxy, source_bounds=bounds, target_bounds=bounds))
    for again in solids(read_proxy(tmp_path / "again.json")):
        np.testing.assert_allclose(corners(again), CORNERS[0], atol=1e-12)


SHEARED = CORNERS[0] + np.outer(BITS[:, 0] + 0.5, [0, 0, 0.2])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({**BOXES[0], "yaw": 3}, "has source yaw and rotation, expected one of them: remove yaw"),
        ({**BOXES[0], "rotation": np.diag([1, 1, -1]).tolist()}, "has source rotation = .* right-handed: correct it"),
        ({**BOXES[0], "rotation": [[1, 0.1, 0], [0, 1, 0], [0, 0, 1]]}, "expected 3 x 3 numbers whose columns"),
        ({**BOXES[0], "rotation": [0, 0, 1]}, r"has source rotation = \[0, 0, 1\], expected 3 x 3"),
        ({**BOXES[0], "rotation": [["1", "0", "0"], ["0", "1", "0"], ["0", "0", "1"]]}, "has source rotation = .*expected 3 x 3"),
        ({**BOXES[0], "rotation": [[True, 0, 0], [0, 1, 0], [0, 0, 1]]}, "has source rotation = .*expected 3 x 3"),
        ({**BOXES[0], "rotation": None}, "has source rotation = None, expected 3 x 3"),
        ({**BOXES[0], "roll": 4}, r"has source = .*'roll'.*, expected the keys centre and size, and yaw or rotation"),
        (SHEARED.tolist(), "has source corners whose edges are not square to each other, expected a box"),
    ],
)
def test_a_turn_that_is_none_is_told(source: Any, expected: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=expected):
        read(tmp_path, {"kind": "box", "source": source, "target": BOXES[1]})
    if isinstance(source, dict) and "roll" not in source:
        changed = {**WITH_SOLIDS, "source_bounds": {"solids": [source]}}
        with pytest.raises(UserError, match=expected.replace("has source ", "source_bounds, solid 0 has ")):
            read(tmp_path, changed)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"size": [1e-300, 1, 1]}, "has source size = .*, expected three lengths above 0"),
        ({"size": [True, 1, 1]}, "has source size = .*, expected three lengths above 0"),
        ({"centre": ["0", "0", "0"]}, "has source centre = .*, expected three numbers"),
    ],
)
def test_sides_that_are_no_lengths_are_told(change: dict[str, Any], expected: str, tmp_path: Path) -> None:
    """Of the box and of the bounds. A side that 32 bits make 0 is one."""
    box = {**BOXES[0], **change}
    with pytest.raises(UserError, match=expected):
        read(tmp_path, {"kind": "box", "source": box, "target": BOXES[1]})
    with pytest.raises(UserError, match=r"source_bounds, solid 0 is .*, expected a capsule .* or a box"):
        read(tmp_path, {**WITH_SOLIDS, "source_bounds": {"solids": [box]}})
