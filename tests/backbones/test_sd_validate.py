"""What a command line with Stable Diffusion is told before anything is loaded: all of it, and only what is wrong."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
import torch
from PIL import Image

from qnerf import validate
from qnerf.backbones import hub
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.kinds import kind_of
from qnerf.backbones.sd15 import Sd15Settings
from qnerf.config import RunSettings
from qnerf.errors import UserError
from qnerf.runs.loading import load_backbone
from qnerf.scenes.images import read_json
from tests.backbones import sd_models as sd


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = sd.build_folder(tmp_path_factory.mktemp("sd") / "sd15")
    shutil.copytree(sd.controlnet_of(folder), folder.with_name("control_v11p_sd15_openpose"))
    return folder


def told(capsys: pytest.CaptureFixture[str], model: Path, *overrides: str) -> str:
    """What `qnerf validate` says of the demo scene with this model."""
    net = model.with_name("control_v11p_sd15_openpose")
    own = [f"backbone.model={model}", f"backbone.controlnet={net}", "scene.path=asset:puppet_a", "backbone.image_size=64"]
    own += ["scene.source_prompt=a fox", "scene.target_prompt=a red fox"]
    code = validate.main(["+exp=photographs", *own, "scene.size=64", *overrides])
    said = capsys.readouterr()
    assert code == (2 if said.err else 0)
    return said.err


def test_a_model_and_a_drawing_that_fit_are_good(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, model) == ""
    assert told(capsys, model, "control.detail=openpose") == ""
    assert told(capsys, model, "backbone.control.kind=puppet", "control.detail=bones") == ""
    assert told(capsys, model, "backbone.control.kind=box", "control.detail=box") == ""


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["control.detail=box"],
            "control.detail: got box, but .*openpose is a ControlNet of kind openpose, which reads openpose or images",
        ),
        (
            ["control.detail=bones"],
            r"set control.detail=openpose, or give a ControlNet for bones \(if it is one, backbone.control.kind=puppet\)",
        ),
        (["backbone.control.kind=other"], "control.source_images: no value given, but a control is drawn from images"),
        (["scene.proxy=asset:fox_box.json"], "fox_box.json is a box, which has no joints to draw for an OpenPose ControlNet"),
        (["scene.proxy=asset:fox_ears.json"], "fox_ears.json has no joints .*right_shoulder"),
        (
            ["control.detail=images", "control.source_images=/no", "control.target_images=/no"],
            "control.target_images: /no is not a folder",
        ),
        (
            ["control.detail=openpose", "control.source_images=/no"],
            "control.source_images: no ControlNet is given it; set control.detail=images",
        ),
        (
            ["backbone.control.start=0.8", "backbone.control.stop=0.2"],
            "backbone.control.*got 0.8, and stop 0.2; expected start before",
        ),
        (
            ["backbone.control.start=0.5", "backbone.control.stop=0.505"],
            r"backbone.control: no step of steps=\d+ lies wholly between start=0.5 and stop=0.505, so that it never acts",
        ),
        (["scene.target_prompt=" + "fox " * 20], "the prompt 'fox fox .* has 22 tokens, but the model reads 16"),
        (["backbone.model=/no/where"], "backbone.model: /no/where does not exist"),
        (["scene.size=128"], "scene.size: got 128, but backbone=sd15 works at 64 pixels"),
        (["scene.size=[128,64]"], r"scene.size: got \[128,64\], but backbone=sd15 works at 64 pixels; set scene.size=64"),
        (
            ["scene.size=[64,128]", "backbone.image_size=[128,64]"],
            r"got \[64,128\], but backbone=sd15 works at \[128,64\] pixels \(width, height\); set scene.size=\[128,64\]",
        ),
        (
            ["backbone.image_size=[96,64]"],
            r"backbone.image_size: got \[96, 64\]; expected a multiple of 64 from 64 to 2048, or two .*, \[width,height\]$",
        ),
        (
            ["backbone.loras=[{path: x.safetensors, sale: 2}]"],
            "backbone.loras.0.sale: unknown key; nearest valid: scale; expected one of path, scale",
        ),
        (["backbone.more_controlnets=[{scale: 2}]"], "backbone.more_controlnets.0.controlnet: missing; expected a value$"),
        (["+backbone.lora=x"], "backbone.lora: unknown key; nearest valid: loras"),
        (["backbone.vae=/no/vae"], "backbone.vae: /no/vae does not exist"),
        (["backbone.loras=x.safetensors"], r"got 'x.safetensors'; expected a list, in brackets: backbone.loras=\[…\]$"),
        (["backbone.loras=[x.safetensors]"], "backbone.loras.0: .*; expected keys and their values, {path: …, scale: …}$"),
    ],
)
def test_each_fault_is_told(model: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], expected: str) -> None:
    import re

    assert re.search(expected, told(capsys, model, *overrides))


def test_procedural_scenes_that_are_not_written_yet_are_checked_too(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lamp = told(capsys, model, "scene.path=procedural:lamp_901")
    assert "control: the proxy of procedural:lamp_901 has no joints right_shoulder, right_elbow" in lamp
    boxed = told(capsys, model, "scene.path=procedural:figure_901", "scene.proxy=asset:fox_box.json")
    assert "fox_box.json is a box, which has no joints" in boxed
    (tmp_path / "000.png").write_bytes(b"")
    own = ["control.detail=images", *(f"control.{state}_images={tmp_path}" for state in ("source", "target"))]
    said = told(capsys, model, "scene.path=procedural:lamp_901", "scene.views=4", *own)
    assert "no drawing for 3 of 4 views (004, 008, 012)" in said
    assert told(capsys, model, "scene.path=procedural:figure_901") == ""
    assert not (tmp_path / "qnerf").exists(), "and nothing is written for a check"


def test_images_without_cameras_need_no_controlnet(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "fox.png"
    image.write_bytes(b"")
    own = ["backbone=sd15", f"backbone.model={model}", "backbone.image_size=64", "scene.size=64", f"image={image}"]
    said = ["prompt=a fox", "target=a red fox"]
    assert validate.main(["+exp=edit_image", *own, *said]) == 0
    assert validate.main(["+exp=edit_image", *own, *said, "scene.reader=null"]) == 0, "by the file alone"
    settings = RunSettings.compose("+exp=edit_image", *own, *said)
    assert settings.net_controls() == ()
    assert len(settings.backbone.weights() or ()) == 5, "those of the model alone"
    bare = settings.backbone.build()
    assert bare.controlnets == ()
    assert bare.predict(torch.zeros(1, 4, 8, 8), 500, Conditioning.of(bare.embed(["a fox"]))).isfinite().all()


def test_without_a_controlnet_there_is_no_control_to_be_steered_away_from() -> None:
    own = ["+exp=photographs", "scene.path=x", "backbone.controlnet=null"]
    with pytest.raises(UserError, match=r"editor.control_guidance: got .*, but backbone.controlnet is null"):
        RunSettings.compose(*own, "editor.control_guidance=2")
    assert RunSettings.compose(*own, "editor.control_guidance=1").net_controls() == ()


def test_what_fits_stable_diffusion_is_what_photographs_are_edited_with() -> None:
    settings = RunSettings.compose("+exp=photographs", "scene.path=x", "scene.size=[768,512]")
    assert settings.methods()["full"].editor == settings.editor
    assert (settings.editor.guidance_scale, settings.backbone.pixels()) == (7.5, (768, 512))
    assert (settings.field.grid.levels, settings.field.optimiser.iterations) == (16, 5000), "field=sd15"


def test_the_capture_experiment_draws_no_box_for_openpose(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = model.with_name("control_v11p_sd15_openpose")
    own = [f"backbone.model={model}", f"backbone.controlnet={net}", "scene.path=asset:puppet_a", "backbone.image_size=64"]
    assert validate.main(["+exp=capture", "backbone=sd15", *own, "scene.size=64", "scene.proxy=asset:fox_box.json"]) == 2
    assert "is a ControlNet of kind openpose, which reads openpose or images" in capsys.readouterr().err


def test_all_faults_are_told_together(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = Path(shutil.copytree(model, tmp_path / "broken"))
    (broken / "tokenizer" / "merges.txt").unlink()
    sd.edit_json(broken / "unet" / "config.json", in_channels=9)
    faults = [f"backbone.model={broken}", "control.detail=box", "scene.proxy=/no.json", "recorder.layers=[99]"]
    said = told(capsys, model, *faults)
    for part in ("has no merges.txt", "an inpainting model", "kind openpose", "/no.json does not exist", "got [99]"):
        assert part in said
    assert len(said.splitlines()) == 5
    lost = told(capsys, model, "backbone.model=/no/model", "backbone.vae=/no/vae", "backbone.tokenizer=/no/words")
    assert [line.split(": ")[1] for line in lost.splitlines()] == ["backbone.model", "backbone.vae", "backbone.tokenizer"]


def test_images_are_counted_by_the_names_of_views_and_measured(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "000.png").write_bytes(b"")
    own = [f"control.{state}_images={tmp_path}" for state in ("source", "target")]
    said = told(capsys, model, "control.detail=images", "scene.views=4", *own)
    assert "control.source_images: " in said
    assert "has no drawing for 3 of 4 views (003, 006, 009)" in said
    for view in ("000", "003", "006", "009"):
        Image.new("RGB", (32, 64 if view == "000" else 32)).save(tmp_path / f"{view}.png")
    said = told(capsys, model, "control.detail=images", "scene.views=4", *own)
    assert "000.png is 32 x 64 pixels, expected 64 x 64, and so are 3 others of another size; draw them at the views' size" in said


def test_the_embedded_models_controlnets_know_no_foreign_drawings() -> None:
    settings = RunSettings.compose("control.detail=openpose")
    with pytest.raises(UserError, match="the embedded model's ControlNets read bones"):
        load_backbone(settings)


def test_kinds_by_name() -> None:
    assert kind_of("lllyasviel/control_v11p_sd15_openpose") == "openpose"
    assert kind_of("/x/models--lllyasviel--control_v11f1p_sd15_depth/snapshots/0f3c") == "depth"
    assert kind_of("/x/control_v11p_sd15_canny.safetensors") == "other"
    assert kind_of("/path/to/controlnet") is None
    assert kind_of("/path/to/controlnet", "puppet") == "puppet"


def test_what_is_in_the_cache_is_loaded_without_network(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a network connection was attempted")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name, folder in (("sd15", model), ("net", sd.controlnet_of(model))):
        place = tmp_path / f"models--someone--{name}"
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text("abc")
        shutil.copytree(folder, place / "snapshots" / "abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = Sd15Settings(model="someone/sd15", controlnet="someone/net", download=True, control={"kind": "other"})  # pyright: ignore
    assert found.problems(["a fox"], "images") == []
    assert found.weights() is not None
    (tmp_path / "models--someone--net" / "snapshots" / "abc" / "diffusion_pytorch_model.safetensors").unlink()
    part = Sd15Settings(model="someone/sd15", controlnet="someone/net", control={"kind": "other"})  # pyright: ignore
    (said,) = part.problems(["a fox"], "images")
    assert "'someone/net' was not found" in said, "a part of it is none"


def test_what_is_not_there_fails_once_with_the_command_to_fetch_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def no_network(self: object, name: str, **how: object) -> None:
        asked.append(name)
        raise OSError("no route to host")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", no_network)
    problems: list[str] = []
    assert hub.find_or_fetch("backbone.model", "diffusion model", "no/such", "v1", True, problems) is None
    assert asked == ["no/such"]
    assert "was not fetched (OSError: no route to host)" in problems[0]
    assert "`hf download no/such --revision v1 --local-dir such` (4.0 GiB for Stable Diffusion 1.5), bring" in problems[0]


def test_only_what_is_read_is_fetched() -> None:
    whole = ["model_index.json", "v1-5-pruned-emaonly.safetensors", "unet/config.json", "safety_checker/model.safetensors"]
    read = [f"unet/diffusion_pytorch_model{variant}.safetensors" for variant in ("", ".fp16", ".non_ema")]
    assert hub.files_to_fetch([*whole, *read, "unet/model.bin"]) == ["model_index.json", "unet/config.json", read[0]]
    assert hub.files_to_fetch(["config.json", "diffusion_pytorch_model.fp16.safetensors"])[1:] == [
        "diffusion_pytorch_model.fp16.safetensors"
    ]


def test_the_demos_skeleton_has_openposes_joints() -> None:
    from qnerf.common.places import ASSETS
    from qnerf.scenes.openpose_joints import missing_joints

    assert missing_joints(read_json(ASSETS / "scenes" / "puppet_a" / "proxy.json")["joints"]) == []
