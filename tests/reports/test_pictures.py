import json
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from PIL import Image

from qnerf.reports.export import export_views
from qnerf.reports.images import enlarge, spread, to_pixels
from qnerf.reports.sheet import Column, contact_sheet, load_font, wrap
from qnerf.reports.video import orbit_video
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.scene import Scene


def solid(colour: tuple[int, int, int], views: int = 3, side: int = 32) -> list[np.ndarray]:
    return [np.full((side, side, 3), colour, dtype=np.uint8) for _ in range(views)]


def test_pixels_are_rounded_to_nearest_and_clamped() -> None:
    image = torch.tensor([-0.1, 0.5, 1.2]).reshape(3, 1, 1)
    assert to_pixels(image).tolist() == [[[0, 128, 255]]]


@pytest.mark.parametrize(("count", "most", "expected"), [(12, 4, [0, 3, 6, 9]), (3, 8, [0, 1, 2]), (0, 4, [])])
def test_views_are_spread_evenly(count: int, most: int, expected: list[int]) -> None:
    assert spread(count, most) == expected


def test_tiles_are_enlarged_by_a_whole_factor_to_at_least_the_side() -> None:
    assert enlarge(solid((0, 0, 0), side=128)[0], 160).size == (256, 256)
    assert enlarge(solid((0, 0, 0), side=512)[0], 160).size == (512, 512)


def test_sheet_has_a_row_per_view_and_a_column_per_method_in_order() -> None:
    columns = [Column("source", solid((255, 0, 0))), Column("full", solid((0, 0, 255)), ["PSNR: 20 dB"])]
    sheet = contact_sheet(columns, ["a", "b", "c"], "A title", "A verdict.")
    red, blue = ((sheet == colour).all(-1) for colour in ([255, 0, 0], [0, 0, 255]))
    for mask in (red, blue):
        assert mask.sum() > 3 * 150 * 150  # three tiles of at least 160 px, less their labels
    assert np.argwhere(red)[:, 1].max() < np.argwhere(blue)[:, 1].min()


def test_sheet_shows_at_most_the_rows_asked_for() -> None:
    tall = contact_sheet([Column("x", solid((9, 9, 9), views=20))], [str(i) for i in range(20)], "t", "f", most_rows=4)
    short = contact_sheet([Column("x", solid((9, 9, 9), views=4))], [str(i) for i in range(4)], "t", "f", most_rows=4)
    assert tall.shape == short.shape


def test_wrapped_lines_fit_the_width_and_lose_no_word() -> None:
    font, text = load_font(12), "one two three four five six seven"
    lines = wrap(text, font, 60)
    assert " ".join(lines) == text
    assert all(font.getlength(line) <= 60 for line in lines)


def test_orbit_has_even_sizes_and_one_frame_group_per_view(tmp_path: Path) -> None:
    columns = [Column("source", solid((255, 0, 0), views=2, side=33)), Column("full", solid((0, 0, 255), 2, 33))]
    orbit_video(tmp_path / "orbit.mp4", columns)
    frames = imageio.imread(tmp_path / "orbit.mp4", plugin="FFMPEG")
    assert frames.shape[0] == 2 * 2 * 4
    assert frames.shape[1] % 2 == 0
    assert frames.shape[2] % 2 == 0
    left, right = frames[0, 100, 100], frames[0, 100, -100]
    assert left[0] > 200 > 50 > left[2]
    assert right[2] > 200 > 50 > right[0]


def test_exported_views_are_a_capture_in_nerfstudio_form(tmp_path: Path) -> None:
    poses = torch.eye(4).repeat(2, 1, 1)
    poses[1, 0, 3] = 2.0
    cameras = Cameras(poses, torch.full((2, 2), 50.0), torch.full((2, 2), 16.0), 32, 32)
    scene = Scene(
        name="s",
        view_names=("a", "b"),
        images=torch.zeros(2, 3, 32, 32),
        cameras=cameras,
        source_prompt="a figure",
        target_prompt="a figure, arm raised",
        focus=torch.zeros(3),
        radius=1.0,
        proxy=None,
        truth=None,
    )
    views = solid((1, 2, 3), views=2)
    export_views(tmp_path, views, scene)
    document = json.loads((tmp_path / "transforms.json").read_text())
    assert (document["fl_x"], document["cx"], document["w"]) == (50.0, 16.0, 32)
    assert document["prompt"] == "a figure, arm raised"
    for frame, view, pose in zip(document["frames"], views, poses, strict=True):
        assert np.array_equal(np.asarray(Image.open(tmp_path / frame["file_path"])), view)
        assert frame["transform_matrix"] == pose.tolist()
