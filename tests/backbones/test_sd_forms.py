"""What is read of a model's own configs and obeyed, and what is wrong with its files: each is told in a sentence that names it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from qnerf.backbones.sd15 import Sd15Settings
from qnerf.errors import UserError
from tests.backbones import sd_files
from tests.backbones import sd_models as sd

Z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model(models: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of SD 1.5 to spoil, with its ControlNet."""
    shutil.copytree(sd.controlnet_of(models["sd15"]), tmp_path / "sd_controlnet")
    return Path(shutil.copytree(models["sd15"], tmp_path / "sd"))


def settings(model: Path | str, controlnet: Path | str | None = None, **others: Any) -> Sd15Settings:
    net = controlnet or sd.controlnet_of(Path(model))
    return Sd15Settings(model=str(model), controlnet=str(net), image_size=64, **{"control": {"kind": "other"}, **others})


def problems(found: Sd15Settings, prompt: str = "a fox") -> str:
    """What is said of the model by `qnerf validate`; a run says the same."""
    said = found.problems([prompt], "auto")
    with pytest.raises(UserError):
        found.build()
    assert all(line.startswith("backbone.") for line in said), "every sentence begins with the setting that it is of"
    return "\n".join(said)


def test_a_folder_of_the_hubs_cache_is_its_snapshot(models: dict[str, Path], tmp_path: Path) -> None:
    cache = tmp_path / "models--someone--sd"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("abc")
    (cache / "snapshots").mkdir()
    (cache / "snapshots" / "abc").symlink_to(models["sd15"])
    found = settings(cache, sd.controlnet_of(models["sd15"]))
    assert found.problems(["a fox"], "auto") == []
    said = problems(settings(cache, sd.controlnet_of(models["sd15"]), revision="v2"))
    assert "without the revision v2 (it has abc)" in said


def test_scale_and_shift_of_the_latents(model: Path) -> None:
    sd.edit_json(model / "vae" / "config.json", scaling_factor=0.5, shift_factor=0.25)
    backbone, images = settings(model).build(), torch.rand(1, 3, 64, 64)
    mean: Any = backbone.vae.encode(2 * images - 1)
    torch.testing.assert_close(backbone.encode(images), (mean.latent_dist.mean - 0.25) * 0.5)
    vae: Any = backbone.vae
    decoded = vae.decode(Z / 0.5 + 0.25)
    torch.testing.assert_close(backbone.decode(Z), (decoded.sample / 2 + 0.5).clamp(0, 1))


BAD_CONFIGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "sdxl": ("unet", {"addition_embed_type": "text_time"}, "asks for more than a text, as SDXL's do"),
    "inpainting": ("unet", {"in_channels": 9}, r"an inpainting model, whose U-Net reads a mask too \(9 channels, expected 4\)"),
    "width": ("unet", {"cross_attention_dim": 1024}, r"of width 1024 \(Stable Diffusion 2.x\), but a text encoder of 64"),
    "text encoder": ("text_encoder", {"architectures": ["T5EncoderModel"]}, "class T5EncoderModel, expected CLIPTextModel"),
    "statistics": ("vae", {"latents_mean": [0.0] * 4}, "scales latents by latents_mean"),
    "a ControlNet of the same width for other channels": (
        "../sd_controlnet",
        {"block_out_channels": [64, 64, 64, 64]},
        r"sd_controlnet does not fit backbone.model \(block_out_channels",
    ),
    "another SD's ControlNet": (
        "../sd_controlnet",
        {"cross_attention_dim": 1024},
        r"made for texts of width 1024 .*but backbone.model for 64",
    ),
    "a U-Net as ControlNet": (
        "../sd_controlnet",
        {"_class_name": "UNet2DConditionModel"},
        "sd_controlnet is a U-Net, not a ControlNet",
    ),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_configs_that_do_not_fit_are_refused_by_name(case: str, model: Path) -> None:
    part, changes, expected = BAD_CONFIGS[case]
    sd.edit_json(model / part / "config.json", **changes)
    said = problems(settings(model))
    assert len(said.splitlines()) == 1, said
    assert re.search(expected, said), said


SCHEDULES: dict[str, tuple[dict[str, Any], str]] = {
    "flow": (
        {"prediction_type": "flow_prediction"},
        "prediction_type = flow_prediction, expected epsilon or v_prediction or sample",
    ),
    "betas": ({"beta_schedule": "sigmoid"}, "beta_schedule = sigmoid, expected scaled_linear or linear or squaredcos_cap_v2"),
    "no betas": ({"beta_schedule": None}, "has no beta_schedule, which every step depends on"),
    "linspace": ({"timestep_spacing": "linspace"}, "timestep_spacing = linspace.*set backbone.timestep_spacing=leading"),
    "clipping": ({"clip_sample": True}, "clip_sample = true, expected false"),
}


@pytest.mark.parametrize("case", SCHEDULES)
def test_schedules_that_are_not_known_are_refused_by_name(case: str, model: Path) -> None:
    changes, expected = SCHEDULES[case]
    sd.set_scheduler(model, **changes)
    assert re.search(expected, problems(settings(model)))
    if case == "linspace":
        assert settings(model, timestep_spacing="leading").problems(["a fox"], "auto") == []


def test_pure_noise_at_the_first_step_is_refused(model: Path) -> None:
    sd.set_scheduler(model, rescale_betas_zero_snr=True, timestep_spacing="trailing", prediction_type="v_prediction")
    with pytest.raises(UserError, match=r"no signal left.*set backbone.timestep_spacing=leading"):
        settings(model).build().process.steps(5)


def test_files_that_are_missing_or_not_whole_are_named(model: Path) -> None:
    (model / "tokenizer" / "vocab.json").unlink()
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    (model / "vae" / "diffusion_pytorch_model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    (model / "text_encoder" / "model.safetensors").rename(model / "text_encoder" / "pytorch_model.bin")
    (model.with_name("sd_controlnet") / "config.json").unlink()
    lines = problems(settings(model)).splitlines()
    assert len(lines) == 5, "all of them together"
    said = set(lines)
    for part in (
        "tokenizer has no vocab.json, without which all prompts are alike",
        "diffusion_pytorch_model.safetensors has",
        "is a git-lfs pointer",
        "pytorch_model.bin alone, a pickled file",
        "sd_controlnet/config.json is missing",
    ):
        assert any(part in line for line in said), part


def test_a_vocabulary_of_another_model_is_refused(model: Path) -> None:
    (model / "tokenizer" / "vocab.json").write_text('{"a": 0, "b": 1}')
    assert "has 2 tokens, but the text encoder" in problems(settings(model))


@pytest.mark.parametrize("part", ["unet", "text_encoder", "vae", "../sd_controlnet"])
def test_every_tensor_is_accounted_for(part: str, model: Path) -> None:
    key = "backbone.controlnet" if part.startswith("..") else "backbone.model"
    (file,) = (model / part).glob("*.safetensors")
    tensors = load_file(file)
    first, *others = sorted(tensors)
    save_file({f"foreign.{first}": tensors[first], **{n: tensors[n].clone() for n in others}}, file, {"format": "pt"})
    with pytest.raises(UserError, match=f"^{key}: ") as error:
        settings(model).build()
    name = first.removeprefix("text_model.")
    assert f"no {name}" in str(error.value)
    assert "foreign." in str(error.value)
    save_file({n: torch.zeros(3) if n == first else tensors[n].clone() for n in tensors}, file, {"format": "pt"})
    with pytest.raises(UserError, match=rf"of another shape {name} 3 for .*model of another size"):
        settings(model).build()


@pytest.mark.parametrize("form", ["without an index", "cache"])
def test_sdxl_is_known_by_its_second_text_encoder(models: dict[str, Path], form: str, tmp_path: Path) -> None:
    folder = tmp_path / "snapshots" / "abc" if form == "cache" else tmp_path / "xl"
    shutil.copytree(models["sd15"], folder)
    (folder / "text_encoder_2").mkdir()
    said = problems(settings(tmp_path if form == "cache" else folder, sd.controlnet_of(models["sd15"])))
    assert "has two text encoders" in said
    assert len(said.splitlines()) == 1


def test_mixed_up_places(models: dict[str, Path], tmp_path: Path) -> None:
    folder, net = models["sd15"], sd.controlnet_of(models["sd15"])
    control = sd_files.write_single_controlnet(net, tmp_path / "control.safetensors")
    cases = [
        (settings(net, net), "is one part of a model (ControlNetModel), not a whole one"),
        (settings(folder, folder), "is a whole model, not a ControlNet"),
        (settings(folder, folder / "unet"), "is a U-Net, not a ControlNet"),
        (settings(control, net), "is a ControlNet: give it as backbone.controlnet"),
        (settings(folder, folder / "vae" / "diffusion_pytorch_model.safetensors"), "is an autoencoder, not a ControlNet"),
        (settings("/no/where", net), "/no/where does not exist"),
        (settings("no/such-model", net), "set backbone.download=true, fetch it with `hf download no/such-model"),
    ]
    for case, expected in cases:
        assert expected in problems(case)
    assert "nor in the Hugging Face cache" in problems(settings(folder, vae="no/such-vae"))
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    assert "has the names of diffusers' layout: give its folder" in problems(settings(folder, vae=str(weights)))
    half = {name: x for name, x in load_file(control).items() if "middle_block_out" not in name}
    save_file(half, tmp_path / "half.safetensors")
    with pytest.raises(
        UserError,
        match=r"backbone.controlnet: .*half.safetensors does not have .*no controlnet_mid_block.bias, controlnet_mid_block.weight",
    ):
        settings(folder, tmp_path / "half.safetensors").build()
    save_file({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(1)}, tmp_path / "little.safetensors")
    assert "has no text encoder and no autoencoder" in problems(settings(tmp_path / "little.safetensors", net))
    save_file({"control_model.zero_convs.0.0.weight": torch.zeros(1)}, tmp_path / "none.safetensors")
    assert "has not the tensors of a whole ControlNet" in problems(settings(folder, tmp_path / "none.safetensors"))
    (tmp_path / "x.ckpt").write_bytes(b"")
    assert "is a pickled file" in problems(settings(tmp_path / "x.ckpt", net))


def test_prompts_that_are_too_long_are_told_before_and_warned_of(models: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    long = "a red fox with tall ears in the snow " * 3
    found = settings(models["sd15"])
    assert ["has 29 tokens, but the model reads 16" in line for line in found.problems([long, "a fox"], "auto")] == [True]
    found.build().embed([long])
    assert "has 29 tokens, but the model reads 16" in caplog.text


def test_half_precision_is_not_the_default_of_a_cpu(models: dict[str, Path]) -> None:
    assert settings(models["sd15"]).build().dtype == torch.float32
    assert settings(models["sd15"]).dtype_on("cuda:1") == "float16"
