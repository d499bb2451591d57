"""Masks and depth of a capture: read at the views' size, in the world's units, and used, or said not to be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from qnerf.errors import UserError
from qnerf.fields.sampling import ray_line
from qnerf.fields.settings import SamplingSettings
from qnerf.fields.space import Space
from qnerf.scenes.fingerprint import scene_fingerprint
from qnerf.scenes.masks_and_depth import range_of_points
from qnerf.scenes.reader import read_with_notes
from qnerf.scenes.scene import Scene
from qnerf.scenes.settings import SceneSettings
from tests.scenes.captures import FOCAL, SIZE, document, write_capture, write_images
from tests.scenes.conftest import ring_cameras

CAMERAS = ring_cameras(4, SIZE, FOCAL)
RAYS = CAMERAS.token_rays(SIZE, SIZE)
GROUND = torch.where(RAYS.directions[..., 2] < -0.05, -RAYS.origins[..., 2] / RAYS.directions[..., 2], torch.inf)
COSINE = (RAYS.directions * -CAMERAS.camera_to_world[:, None, None, :3, 2]).sum(-1)
Z_DEPTH = torch.where(torch.isfinite(GROUND), GROUND * COSINE, 0.0).numpy()


def capture(folder: Path, unit: float | None = None, npy: bool = False, times: float = 1000.0, **common: Any) -> Path:
    """A capture whose photographs show the ground z = 0, with masks that leave out the left third. times: stored depth a unit."""
    changed = {**document(), **common, **({} if unit is None else {"depth_unit_scale_factor": unit})}
    write_capture(folder)
    for view, frame in enumerate(changed["frames"]):
        frame |= {"mask_path": f"masks/{view}.png", "depth_file_path": f"depth/{view}.{'npy' if npy else 'png'}"}
        for name in ("masks", "depth"):
            (folder / name).mkdir(exist_ok=True)
        mask = np.full((SIZE, SIZE), 255, np.uint8)
        mask[:, : SIZE // 3] = 0
        cv2.imwrite(str(folder / frame["mask_path"]), mask)
        if npy:
            np.save(folder / frame["depth_file_path"], (Z_DEPTH[view] * times).astype(np.float32))
        else:
            cv2.imwrite(str(folder / frame["depth_file_path"]), np.rint(Z_DEPTH[view] * times).astype(np.uint16))
    (folder / "transforms.json").write_text(json.dumps(changed))
    return folder


def read(folder: Path, **changes: Any) -> tuple[Scene, str]:
    scene, notes = read_with_notes(SceneSettings(**{"path": str(folder), "size": SIZE, **changes}))
    return scene, "\n".join(notes)


@pytest.mark.parametrize(
    ("unit", "npy", "times", "said"),
    [
        (None, False, 1000.0, "in units of 0.001 world units, on which the views agree at 100%"),
        (None, True, 1.0, "in units of 1 world units"),
        (0.25, True, 4.0, ""),
    ],
)
def test_depth_is_a_distance_along_the_ray_in_world_units(
    unit: float | None, npy: bool, times: float, said: str, tmp_path: Path
) -> None:
    scene, notes = read(capture(tmp_path, unit, npy, times))
    assert scene.depth is not None
    assert scene.valid is not None
    assert torch.equal(torch.isfinite(scene.depth), torch.isfinite(GROUND))
    known = torch.isfinite(GROUND)
    torch.testing.assert_close(scene.depth[known], GROUND[known], atol=2e-3, rtol=0)
    assert said in notes
    assert bool(said) == ("depth is taken" in notes)
    assert not scene.valid[:, :, : SIZE // 3].any()
    assert scene.valid[:, :, SIZE // 3 :].all()
    low, high = (GROUND[known].quantile(q).item() for q in (0.01, 0.99))
    assert scene.limits == pytest.approx((low, high), rel=0.1)


def test_depth_on_which_the_views_do_not_agree_is_not_used_and_said_so(tmp_path: Path) -> None:
    """Every view's depth is scaled by itself, as that of networks is that look at one image at a time."""
    folder = capture(tmp_path, npy=True, times=1.0)
    for view in (1, 3):
        np.save(folder / f"depth/{view}.npy", np.load(folder / f"depth/{view}.npy") * 2)
    scene, notes = read(folder)
    assert scene.depth is None
    assert "so it is not used: give depth_unit_scale_factor" in notes


def test_masks_and_depth_of_half_the_size_follow_the_crop(tmp_path: Path) -> None:
    """At half the size of the views, cropped to their middle columns: 3/4 of the photograph's."""
    folder = capture(tmp_path)
    for path in [*sorted((folder / "masks").iterdir()), *sorted((folder / "depth").iterdir())]:
        whole = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert whole is not None
        cv2.imwrite(str(path), whole[::2, ::2])
    scene, _ = read(folder, size=[72, 96])
    assert scene.valid is not None
    assert scene.depth is not None
    assert scene.valid.shape == scene.depth.shape == (4, 96, 72)
    first = int(scene.valid[0, 0].nonzero().min())
    assert first in (20, 21)  # of 48 columns 16 less the crop's 6, twice as large; no pixel across the rim
    rays = scene.cameras.token_rays(96, 72)
    ground = -rays.origins[..., 2] / rays.directions[..., 2]
    known = torch.isfinite(scene.depth)
    error = (scene.depth - ground).abs()[known] / ground[known]
    assert error.median() < 0.05  # half a coarse pixel off, on ground that is seen at a slant


def test_what_is_no_mask_or_depth_is_refused_and_both_count_in_the_fingerprint(tmp_path: Path) -> None:
    folder = capture(tmp_path)
    before = scene_fingerprint(folder)
    mask = np.full((SIZE, SIZE), 255, np.uint8)
    cv2.imwrite(str(folder / "masks/0.png"), mask)
    assert scene_fingerprint(folder) != before
    cv2.imwrite(str(folder / "depth/1.png"), mask)  # 8 bits: a picture of depth
    cv2.imwrite(str(folder / "masks/2.png"), mask[:, :20])
    (folder / "depth/3.png").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        read(folder)
    for part in (
        "3 problems",
        "depth/1.png has pixels of mode L",
        "masks/2.png is 20 x 48 pixels",
        "depth/3.png cannot be decoded",
    ):
        assert part in str(caught.value)


def test_points_say_how_far_rays_reach_and_they_reach_no_less_than_the_settings_say() -> None:
    points = np.concatenate([np.full((100, 3), (0.0, 0.0, 0.9)), np.full((100, 3), (0.0, 0.0, 0.9)) * 0.5]) + 1e-3
    limits = range_of_points(points, CAMERAS)
    away = (CAMERAS.positions[:, None] - torch.from_numpy(points[[0, -1]]).float()).norm(dim=-1)
    assert limits == pytest.approx((away.min().item(), away.max().item()), rel=1e-4)
    rays, space = CAMERAS[[0]].token_rays(1, 1), Space(torch.tensor([0.0, 0.0, 0.9]), 1.0)
    flat = replace(rays, origins=rays.origins.view(1, 3), directions=rays.directions.view(1, 3))
    settings, ends = SamplingSettings(), torch.tensor([[0.0, 1.0]])
    usual = ray_line(flat, space, settings).distance(ends)[0]
    for given, expected in (((0.5, 40.0), (0.5, 40.0)), ((usual[0] + 1, usual[1] - 1), usual)):
        line = ray_line(flat, replace(space, limits=tuple(map(float, given))), settings)
        torch.testing.assert_close(line.distance(ends)[0], torch.as_tensor(expected), rtol=1e-4, atol=1e-4)


def parallel(folder: Path, shown: float, size: int = SIZE) -> Path:
    """Six cameras 10 above the ground that look straight down, with masks of discs of radius `shown` about (1, 0.5, 2)."""
    changed = document()
    changed["frames"] = []
    write_images(folder, [f"images/{view}.png" for view in range(6)])
    (folder / "masks").mkdir()
    for view in range(6):
        pose = np.eye(4)
        pose[:3, 3] = view % 3, view // 3, 10.0
        x, y, z = np.array([1.0, 0.5, 2.0]) - pose[:3, 3]
        middle = (SIZE / 2 + FOCAL * x / -z, SIZE / 2 - FOCAL * y / -z)
        rows, columns = (np.indices((size, size)) + 0.5) * SIZE / size
        mask = np.hypot(columns - middle[0], rows - middle[1]) < shown
        cv2.imwrite(str(folder / f"masks/{view}.png"), mask.astype(np.uint8) * 255)
        frame = {"file_path": f"images/{view}.png", "mask_path": f"masks/{view}.png", "transform_matrix": pose.tolist()}
        changed["frames"].append(frame)
    (folder / "transforms.json").write_text(json.dumps(changed))
    return folder


@pytest.mark.parametrize("size", [SIZE, 3 * SIZE])
def test_masks_of_an_object_say_where_parallel_cameras_look(size: int, tmp_path: Path) -> None:
    scene, notes = read(parallel(tmp_path, 6.0, size))
    torch.testing.assert_close(scene.focus, torch.tensor([1.0, 0.5, 2.0]), atol=0.1, rtol=0)
    assert scene.radius == pytest.approx(4.0, abs=0.2)
    assert "focus" not in notes


def test_masks_that_leave_something_out_say_no_focus(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="optical axes of the cameras do not meet"):
        read(parallel(tmp_path, 60.0))


def test_a_cut_out_photograph_named_as_mask_counts_where_it_is_not_transparent(tmp_path: Path) -> None:
    folder, changed = capture(tmp_path), document()
    cut_out = np.full((SIZE, SIZE, 4), 30, np.uint8)  # dark, which as a mask without transparency is left out
    cut_out[..., 3] = 0
    cut_out[10:30, 20:40, 3] = 255
    cv2.imwrite(str(folder / "images/000.png"), cut_out)
    changed["frames"][0]["mask_path"] = "images/000.png"
    (folder / "transforms.json").write_text(json.dumps(changed))
    scene, _ = read(folder)
    assert scene.valid is not None
    assert torch.equal(scene.valid[0], torch.from_numpy(cut_out[..., 3] > 0))
    assert scene.valid[1:].all()
