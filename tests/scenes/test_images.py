"""Images without cameras: one file, or a list with prompts and masks of its own, as PIE-Bench has it; and edits of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from qnerf.backbones.architecture import tiny_backbone
from qnerf.config import RunSettings, check, parse
from qnerf.errors import UserError
from qnerf.planning.light_checks import check_files, count_views
from qnerf.run import CONFIGS
from qnerf.runs.inverting import invert
from qnerf.runs.loading import load_scene
from qnerf.runs.methods import edit
from qnerf.scenes.images import write_image
from qnerf.scenes.kept import change_mask
from qnerf.scenes.scene import Scene

BACKBONE = tiny_backbone()
ENTRIES: dict[str, dict[str, Any]] = {
    "000": {"image_path": "0_random/a.png", "original_prompt": "a [red] figure", "editing_prompt": "a [blue] figure",
            "blended_word": "figure figure", "mask": [0, 512]},
    "001": {"image_path": "0_random/b.png", "original_prompt": "a lamp", "editing_prompt": "a floor", "mask": []},
}  # fmt: skip


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of two images of 48 x 32 pixels, the second darker."""
    folder = tmp_path_factory.mktemp("pie")
    (folder / "annotation_images" / "0_random").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, level in (("a", 1.0), ("b", 0.5)):
        write_image(folder / "annotation_images" / "0_random" / f"{name}.png", level * rng.random((3, 32, 48)))
    path = folder / "mapping_file.json"
    path.write_text(json.dumps(ENTRIES))
    return path


def settings_of(path: Path, *overrides: str) -> RunSettings:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return parse(compose("config", ["+exp=edit_image", f"image={path}", "scene.size=32", "steps=4", *overrides]))


def scene_of(path: Path, *overrides: str) -> Scene:
    return load_scene(settings_of(path, "device=cpu", *overrides))


def test_a_list_has_prompts_and_masks_of_its_own(listed: Path) -> None:
    scene = scene_of(listed)
    assert scene.view_names == ("a", "b")
    assert scene.prompts == (("a red figure", "a blue figure"), ("a lamp", "a floor"))
    assert not scene.posed
    assert scene.proxy is None
    assert scene.images.shape == (2, 3, 32, 32)
    # 512 pixels of 48 columns are ten rows and 32 pixels of the next, of which the centre square shows 24.
    assert scene.masks is not None
    assert scene.masks[0, :10].all()
    assert scene.masks[0, 10, :24].all()
    assert not scene.masks[0, 10, 24:].any()
    assert not scene.masks[0, 11:].any()
    assert scene.masks[1].all(), "an image without a mask may change everywhere"
    assert torch.equal(change_mask(scene, 0.1)[1], torch.ones(32, 32))
    assert change_mask(scene, 0.1)[0, 16:].max() == 0
    assert scene_of(listed, "target=a chair").target_prompts == ("a chair", "a chair")
    assert count_views(settings_of(listed)) == 2


def test_an_image_may_be_listed_twice(listed: Path) -> None:
    path = listed.parent / "twice.json"
    path.write_text(json.dumps([ENTRIES["001"], {**ENTRIES["001"], "editing_prompt": "a chair"}]))
    assert scene_of(path).view_names == ("0_random_b_0", "0_random_b_1")


def test_no_image_is_said_in_a_sentence() -> None:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        assert check(compose("config", ["+exp=edit_image"])) == (["image: no value given; set image=… on the command line"], None)


def test_one_image_needs_a_prompt(listed: Path) -> None:
    image = listed.parent / "annotation_images" / "0_random" / "a.png"
    scene = scene_of(image, "prompt=a figure", "target=a lamp")
    assert scene.prompts == (("a figure", "a lamp"),)
    assert scene.masks is None
    with pytest.raises(UserError, match=r"has no 'prompt' \(what the views show\): set scene\.source_prompt"):
        scene_of(image)
    assert "has no 'prompt'" in check_files([settings_of(image, "device=cpu")])[0], "before anything is loaded"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"image_path": "0_random/a.png", "original_prompt": "x"},
            r"image 0 has no text editing_prompt, expected one each: add it",
        ),
        ({**ENTRIES["000"], "mask": [1, 2, 3]}, "image 0 has a mask that is no list of pairs of whole numbers"),
        ({**ENTRIES["000"], "mask": [True, 5]}, "image 0 has a mask that is no list of pairs of whole numbers"),
        ({**ENTRIES["000"], "mask": [7, 0]}, "a number of pixels that is not 0 in all of them"),
        ({**ENTRIES["000"], "mask": [5000, 2]}, r"48 x 32 pixels, from 0 to 1535, but its mask has a run of 2 from pixel 5000 on"),
        ({**ENTRIES["000"], "mask": [1, 5, 1530, 7]}, r"its mask has a run of 7 from pixel 1530 on: let image_path name"),
        ({**ENTRIES["000"], "mask": [48, 6]}, r"a\.png has a mask that lies outside the part of the image which is used"),
        ({**ENTRIES["000"], "image_path": "c.png"}, r"names 1 image, of which 0 exist \(missing: c\.png\), expected at least 1"),
    ],
)
def test_what_is_wrong_with_a_list_is_said(listed: Path, entry: dict[str, Any], message: str) -> None:
    path = listed.parent / "wrong.json"
    path.write_text(json.dumps([entry]))
    with pytest.raises(UserError, match=message):
        scene_of(path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("schedule=progressive schedule.interval=2", "schedule: progressive needs cameras and a proxy"),
        ("schedule=oracle", "schedule: oracle needs cameras and a proxy"),
        ("baselines=[posed]", r"baselines\.posed\.schedule: posed needs cameras and a proxy"),
        ("editor.source=posed", r"editor\.source: got posed, but .* set editor\.source=source"),
        ("editor.control_guidance=2", r"editor\.control_guidance: got 2, .* no control"),
        ("scene.proxy=asset:fox_box.json", r"scene\.proxy: got asset:fox_box\.json, but the cameras"),
        ("inversion=null_text inversion.joint=true", r"inversion\.joint: views of one scene share .* has 2 images"),
        ("editor.mask=region", r"editor\.mask: it asks for the object's region, but no mask says where"),
        ("editor=layout_control", r"editor\.additions\.layout_control\.boxes: it asks for the object's region"),
        ("editor=layout_control +editor.additions.layout_control.boxes.a=null", r"layout_control\.boxes: it asks for"),
    ],
)
def test_what_needs_cameras_or_a_proxy_is_refused_before_anything_is_loaded(listed: Path, override: str, message: str) -> None:
    settings = settings_of(listed, *override.split(), "device=cpu")
    assert len(check_files([settings])) >= 1
    with pytest.raises(UserError, match=message):
        load_scene(settings)


def test_what_needs_a_region_or_one_scene_is_taken_where_there_is_one(listed: Path) -> None:
    """Boxes need no mask, a mask of each image gives a region, and one image shares its prompt with no other."""
    one, box = {**ENTRIES["000"]}, "+editor.additions.layout_control.boxes.blue=[0,0,.5,1]"
    path = listed.parent / "masked.json"
    path.write_text(json.dumps([one]))
    for words in (["editor=layout_control"], ["editor.mask=region"], ["inversion=null_text", "inversion.joint=true"]):
        settings = settings_of(path, *words, "device=cpu")
        assert [error for error in check_files([settings]) if not error.startswith("scene.size")] == []
        load_scene(settings)
    image = listed.parent / "annotation_images" / "0_random" / "a.png"
    load_scene(settings_of(image, "prompt=a figure", "target=a blue figure", "editor=layout_control", box, "device=cpu"))


def test_what_is_no_image_is_said_with_what_is_one(tmp_path: Path) -> None:
    (tmp_path / "photo.bmp").touch()
    kinds = r"an image \(\.png, \.jpg, \.jpeg, \.webp\) or a JSON list of images"
    with pytest.raises(UserError, match=rf"photo\.bmp is a file, expected {kinds}: give the right path"):
        scene_of(tmp_path / "photo.bmp", "prompt=a")
    with pytest.raises(UserError, match=rf"is a folder, expected {kinds}: give the file\."):
        scene_of(tmp_path, "prompt=a")


def test_words_are_looked_for_in_the_prompts_of_each_image(listed: Path) -> None:
    both = ["editor.local_blend.source=[figure]", "editor.local_blend.target=[blue]"]
    settings = settings_of(listed, "editor=p2p", *both, "device=cpu")
    errors = check_files([settings])
    assert any("'figure' is not in the prompt 'a lamp'" in error for error in errors), errors
    with pytest.raises(UserError, match="'figure' is not in the prompt 'a lamp'"):
        load_scene(settings)


def edited(path: Path, *overrides: str) -> tuple[Tensor, Tensor]:
    """Latents after the edit, and of the source."""
    settings = settings_of(path, "device=cpu", *overrides)
    inverted = invert(settings, load_scene(settings), BACKBONE)
    return edit(settings, inverted).latents, inverted.latents


@pytest.mark.parametrize(
    "choice",
    [*(f"inversion={name} editor.start=0" for name in ("ddim", "ddpm", "negative_prompt", "noise", "uniform_attention")),
     "editor=p2p editor.keep_background=true"],
)  # fmt: skip
def test_an_image_of_a_list_is_edited_as_it_is_alone(listed: Path, choice: str) -> None:
    """The first of the list, so that what is drawn for it is the same, by its own words. Outside its mask it stays the source's."""
    both, source = edited(listed, *choice.split())
    path = listed.parent / "first.json"
    path.write_text(json.dumps([ENTRIES["000"]]))
    torch.testing.assert_close(edited(path, *choice.split())[0], both[:1], rtol=0, atol=1e-4)
    torch.testing.assert_close(both[0, :, 3:], source[0, :, 3:], rtol=0, atol=1e-4)
    assert (both[1] - source[1]).abs().max() > 1e-2
