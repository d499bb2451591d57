"""Every form of every kind of model, and what becomes of it: it loads and is the model of diffusers' own folder (which
`test_sd_equals_diffusers.py` holds against diffusers' pipeline), or it is refused with one sentence."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.sd15 import Sd15Settings
from qnerf.errors import UserError
from tests.backbones import sd_files
from tests.backbones import sd_models as sd

SHAPES = {"sd15": sd.SD15, "sd21": sd.SD21, "sdxl": sd.SDXL, "inpainting": sd.INPAINTING}
Z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
DRAWING = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
SAME, XL, MASKED = "the same model", "is SDXL, which has two text encoders", "is an inpainting model, whose U-Net reads a mask too"
PICKLED, POINTER = "a pickled file, which can run any program", "is a git-lfs pointer"
LAYER = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"

MATRIX: dict[str, dict[str, str]] = {
    "folder": {"sd15": SAME, "sd21": SAME, "sdxl": XL, "inpainting": MASKED},
    "fp16 variant": {"sd15": SAME, "sd21": SAME, "sdxl": XL, "inpainting": MASKED},
    "shards": {"sd15": SAME, "sd21": SAME, "sdxl": XL, "inpainting": MASKED},
    "one file": {"sd15": SAME, "sd21": SAME, "sdxl": "is an SDXL checkpoint, which is not supported", "inpainting": MASKED},
    "git-lfs pointer": {"sd15": POINTER, "sd21": POINTER, "sdxl": XL, "inpainting": POINTER},
    "folder of .bin": {"sd15": PICKLED, "sd21": PICKLED, "sdxl": XL, "inpainting": PICKLED},
    "one .ckpt": dict.fromkeys(SHAPES, PICKLED),
    # What is added to a model: of SDXL, to Stable Diffusion 1.5.
    "LoRA": {"sd15": SAME, "sd21": SAME, "sdxl": "made for texts of width 192, but the model's have 64"},
    "autoencoder's folder": {"sd15": SAME, "sdxl": "scales latents by 0.13025, but the model's own autoencoder by 0.18215"},
    "autoencoder's file": {"sd15": SAME},  # the same tensors in all of them, so that a file does not say whose it is
    "ControlNet's file": {"sd15": SAME, "sd21": SAME, "sdxl": "made for texts of width 192, but backbone.model for 64"},
    "ControlNet's .pth": {"sd15": PICKLED, "sd21": PICKLED, "sdxl": PICKLED},
}


@pytest.fixture(scope="module")
def folders(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("others")
    return {**models, **{name: sd.build_folder(home / name, SHAPES[name]) for name in SHAPES if name not in models}}


@pytest.fixture(scope="module")
def made(models: dict[str, Path]) -> dict[str, list[Tensor]]:
    """What the models that load make from their folders."""
    return {name: outputs(settings(folder)) for name, folder in models.items()}


def settings(model: Path, net: Path | None = None, **others: Any) -> Sd15Settings:
    own = {"control": {"kind": "other"}, "image_size": 64, **others}
    return Sd15Settings(model=str(model), controlnet=str(net or sd.controlnet_of(model)), **own)


def outputs(found: Sd15Settings, layer: Tensor | None = None) -> list[Tensor]:
    """What every part makes: text, noise under control, and a picture. layer: added by hand to a layer's weights."""
    backbone = found.build()
    if layer is not None:
        with torch.no_grad():
            backbone.unet.get_submodule(LAYER).weight.add_(layer)  # pyright: ignore[reportCallIssue, reportArgumentType]
    text = backbone.embed(["a red fox"])
    return [text, backbone.predict(Z, 500, Conditioning.of(text, DRAWING)), backbone.decode(Z)]


REFERENCES = (("folder", "sd15"), ("folder", "sd21"))  # what the others are held against
CELLS = [(form, kind) for form, kinds in MATRIX.items() for kind in kinds if (form, kind) not in REFERENCES]


@pytest.mark.parametrize(("form", "kind"), CELLS)
def test_it_is_the_model_or_is_refused_with_a_sentence(
    form: str, kind: str, folders: dict[str, Path], made: dict[str, list[Tensor]], tmp_path: Path
) -> None:
    folder, verdict = folders[kind], MATRIX[form][kind]
    base = folder if verdict == SAME else folders["sd15"]  # of what is added
    layer = None
    if form in ("fp16 variant", "shards"):
        found = settings(sd.build_folder(tmp_path / "model", SHAPES[kind], half=form == "fp16 variant", sharded=form == "shards"))
    elif form == "one file":
        prediction: Any = {"prediction_type": SHAPES[kind].prediction} if kind == "sd21" else {}
        whole = sd_files.write_single_file(folder, tmp_path / "v1-5-pruned-emaonly.safetensors")
        found = settings(whole, sd.controlnet_of(folder), tokenizer=str(folder / "tokenizer"), **prediction)
    elif form in ("git-lfs pointer", "folder of .bin"):
        found = settings(Path(shutil.copytree(folder, tmp_path / "model")), sd.controlnet_of(folder))
        weights = tmp_path / "model" / "unet" / "diffusion_pytorch_model.safetensors"
        if form == "git-lfs pointer":
            weights.write_text("version https://git-lfs.github.com/spec/v1\n")
        else:
            weights.rename(weights.with_suffix(".bin"))
    elif form == "one .ckpt":
        (tmp_path / "model.ckpt").write_bytes(b"")
        found = settings(tmp_path / "model.ckpt", sd.controlnet_of(folder))
    elif form == "LoRA":
        width = SHAPES[kind].text
        a, b = torch.randn(2, width, generator=torch.Generator().manual_seed(3)), torch.ones(64, 2)
        save_file({f"unet.{LAYER}.lora_A.weight": a, f"unet.{LAYER}.lora_B.weight": b}, tmp_path / "lora.safetensors")
        layer = 0.5 * b @ a if verdict == SAME else None
        found = settings(base, loras=({"path": str(tmp_path / "lora.safetensors"), "scale": 0.5},))
    elif form == "autoencoder's folder":
        found = settings(base, vae=str(folder / "vae"))
    elif form == "autoencoder's file":
        tensors = {name: x.contiguous() for name, x in sd_files.ldm_vae(sd_files.read(folder / "vae")).items()}
        save_file(tensors, tmp_path / "vae.safetensors")
        found = settings(base, vae=str(tmp_path / "vae.safetensors"))
    elif form == "ControlNet's file":
        found = settings(base, sd_files.write_single_controlnet(sd.controlnet_of(folder), tmp_path / "control.safetensors"))
    elif form == "ControlNet's .pth":
        (tmp_path / "control.pth").write_bytes(b"")
        found = settings(folders["sd15"], tmp_path / "control.pth")
    else:
        found = settings(folder)
    said = found.problems(["a fox"], "auto")
    if verdict == SAME:
        assert said == []
        wanted = made[kind] if layer is None else outputs(settings(base), layer)
        within = 2e-2 if form == "fp16 variant" else 1e-5
        for ours, theirs in zip(outputs(found), wanted, strict=True):
            assert float((ours - theirs).norm() / theirs.norm()) <= within
        return
    both = kind == "inpainting" and form in ("git-lfs pointer", "folder of .bin")  # it is that, too, and this is told together
    assert len(said) == 1 + both, said
    assert all(re.match(r"backbone\.\w+", line) for line in said)
    assert verdict in said[0]
    with pytest.raises(UserError, match=re.escape(verdict)):
        found.build()


def test_one_file_of_stable_diffusion_2_does_not_say_what_it_predicts(folders: dict[str, Path], tmp_path: Path) -> None:
    whole = sd_files.write_single_file(folders["sd21"], tmp_path / "v2-1_768-ema-pruned.safetensors")
    found = settings(whole, sd.controlnet_of(folders["sd21"]), tokenizer=str(folders["sd21"] / "tokenizer"))
    (said,) = found.problems(["a fox"], "auto")
    assert "does not say whether it predicts noise" in said


def test_home_is_where_a_tilde_leads(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(models["sd15"].parent))
    assert settings(Path("~/sd15"), Path("~/sd15_controlnet")).problems(["a fox"], "auto") == []
