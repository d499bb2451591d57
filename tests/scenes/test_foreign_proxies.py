"""The proxy and the world: what no view shows, what lies far away, and what is no proxy."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qnerf.errors import UserError
from qnerf.scenes.proxies import box_corners, read_proxy
from tests.scenes.captures import BOX, DOCUMENT, POSES, PROXY, document, write_capture, write_images
from tests.scenes.test_foreign_captures import HUGE, in_frames, read, warnings_of

CORNERS = box_corners(torch.tensor(BOX["centre"]), torch.tensor(BOX["size"]), 0.0).tolist()
PROXIES: dict[str, tuple[dict[str, Any], str]] = {
    "out of every view": ({"source": {**BOX, "centre": [0, 0, 5000]}, "target": {**BOX, "centre": [0, 0, 5001]}}, "no view shows"),
    "overflows": ({"source": {**BOX, "size": [1e38] * 3}, "target": {**BOX, "centre": [3e38, 0, 0]}}, "up to 1e\\+15"),
    "400 digits": ({"source": {**BOX, "yaw": HUGE}}, "has source yaw = 1000"),
    "400 digits in corners": ({"source": [[HUGE, 0, 0]] * 8}, r"has source of corner_0 = \[1000.* \(and 7 more\)"),
    "an unknown key": ({"targt": BOX, "note": 1}, r"has the key 'targt', .*write target if that is meant.*\n.*'note'"),
    "corners in another order": ({"source": [*CORNERS[:2], CORNERS[3], CORNERS[2], *CORNERS[4:]]}, "make no box in their order"),
    "mirrored corners": (
        {"source": CORNERS, "target": [CORNERS[k ^ 1] for k in range(8)]},
        "in one order in source and mirrored in target",
    ),
    "a point of two numbers": ({"target": [*CORNERS[:7], [1, 2]]}, r"has target of corner_7 = \[1, 2\], expected three finite"),
    "seven corners": ({"target": CORNERS[:7]}, "has target = 7 points, expected a list of 8"),
    "unequal bounds": (
        {
            "source_bounds": {"solids": [{"start": [0, 0, 0], "end": [0, 0, 1], "radius": 0.1}]},
            "target_bounds": {"solids": [{"start": [0, 0, 0], "end": [0, 0, 1], "radius": 0.1}] * 2},
        },
        "1 solids in source_bounds and 2 in target_bounds",
    ),
    "bounds of 400 digits": ({"source_bounds": {"solids": [{"start": [0, 0, HUGE], "end": [0, 0, 1], "radius": 1}]}}, "solid 0 is"),
}


FIGURE = {"kind": "skeleton", "joints": ["a", "b"], "bones": [[0, 1]], "source": [[0, 0, 0.5], [0, 0, 1.3]]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"bones": [[0, 0]]}, r"has the bone \[0, 0\], expected pairs of different indices of joints, 0 to 1"),
        ({"bones": [[0, 1], [1, 0]]}, r"has the bone \[1, 0\] twice"),
        (
            {"joints": ["a", "b", "c"], "source": [[0, 0, 1]] * 2 + [[1, 0, 1]], "target": [[0, 0, 1], [1, 0, 1], [2, 0, 1]]},
            "the bone from 'a' to 'b' has no length in source",
        ),
        ({"source": [[0, 0, 1], [0, 0, 1]]}, "has no length in source, expected its joints in two places"),
        ({"target": [[0, 0], [0, 0, 1]]}, r"has target of a = \[0, 0\], expected three finite"),
    ],
)
def test_what_is_wrong_with_a_skeleton_is_told(change: dict[str, Any], expected: str, tmp_path: Path) -> None:
    path = tmp_path / "proxy.json"
    path.write_text(json.dumps({**FIGURE, "target": FIGURE["source"], **change}))
    with pytest.raises(UserError, match=expected):
        read_proxy(path)


def test_half_a_character_in_a_name_is_read_as_its_escape_and_can_be_told(tmp_path: Path) -> None:
    """JSON can name one, which no page and no terminal takes. Two that make one character are that
    character."""
    path = tmp_path / "proxy.json"
    named = {**FIGURE, "joints": ["\ud800", "\ud83d\ude00"], "target": FIGURE["source"]}
    path.write_text(json.dumps(named))
    assert read_proxy(path).joints == ("\\ud800", "\U0001f600")
    path.write_text(json.dumps({**named, "\udc00": 1, "target": [[0, 0], [0, 0, 1]]}))
    with pytest.raises(UserError, match=r"has target of \\ud800 = \[0, 0\], expected three finite") as caught:
        read_proxy(path)
    assert str(caught.value).encode()


def test_a_proxy_that_moves_nothing_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (write_capture(tmp_path) / "proxy.json").write_text(json.dumps({"kind": "box", "source": BOX, "target": CORNERS}))
    _, said = warnings_of(tmp_path, caplog)
    assert "proxy.json has the same source and target: nothing moves" in said


@pytest.mark.parametrize("name", PROXIES)
def test_proxies_that_are_none(name: str, tmp_path: Path) -> None:
    change, expected = PROXIES[name]
    (write_capture(tmp_path) / "proxy.json").write_text(json.dumps({**PROXY, **change}))
    with pytest.raises(UserError, match=expected):
        read(tmp_path)


def test_views_that_show_little_of_the_edit_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    aside = {**BOX, "centre": [2.0, 0, 0.9]}
    (write_capture(tmp_path) / "proxy.json").write_text(json.dumps({**PROXY, "source": aside, "target": {**aside, "yaw": 30}}))
    _, said = warnings_of(tmp_path, caplog)
    assert "of 4 views show less than half of what the edit moves (" in said


@pytest.mark.parametrize(("shift", "scale"), [((5e6, -3e6, 2e6), 1.0), ((0, 0, 0), 1e4), ((0, 0, 0), 1e-4), ((7e5, 0, 0), 1e-4)])
def test_a_scene_far_away_or_of_another_size_is_the_same_scene(shift: tuple[float, ...], scale: float, tmp_path: Path) -> None:
    """Up to a power of two in size, with cameras and proxy as exact as near the origin; given back
    are the world's units."""
    move = np.array(shift)
    changed = document()
    moved = [np.vstack([np.column_stack([pose[:3, :3], pose[:3, 3] * scale + move]), pose[3]]) for pose in POSES]
    in_frames("transform_matrix", [pose.tolist() for pose in moved])(changed)
    box = {"centre": (np.array([0, 0, 0.9]) * scale + move).tolist(), "size": [scale] * 3}
    (tmp_path / "proxy.json").write_text(json.dumps({"kind": "box", "source": box, "target": {**box, "yaw": 10}}))
    scene, usual = read(write_capture(tmp_path, changed)), read(write_capture(tmp_path / "usual"))
    assert scene.proxy is not None
    ratio = scene.radius / usual.radius
    place = (scene.cameras.positions - scene.focus) / ratio
    torch.testing.assert_close(place, usual.cameras.positions - usual.focus, atol=2e-5, rtol=0)
    torch.testing.assert_close((scene.proxy.source - scene.focus).abs() / ratio, torch.full((8, 3), 0.5), atol=2e-5, rtol=0)
    given_back = scene.world.outward(scene.cameras.positions.numpy())
    np.testing.assert_allclose(given_back, np.stack([pose[:3, 3] for pose in moved]), atol=1e-6 * scale + 1e-9 * np.abs(move).max())


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    write_images(tmp_path, ["secret/000.png"])
    changed = document()
    in_frames("file_path", [os.path.abspath(tmp_path / "secret/000.png"), *[f["file_path"] for f in DOCUMENT["frames"][1:]]])(
        changed
    )
    scene = read(write_capture(tmp_path / "scene", changed))
    assert scene.view_names == ("001", "002", "003")
