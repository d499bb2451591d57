"""Parts of a model that are not what their folder is named for, and values of another type, told before anything is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from qnerf.backbones.sd15 import Sd15Settings
from qnerf.backbones.sd_settings import EmbeddingSettings, LoraSettings
from tests.backbones import sd_models as sd


@pytest.fixture
def broken(models: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(models["sd15"], tmp_path / "broken"))


def said(model: Path, **others: Any) -> str:
    """All that validate says of a model, without a ControlNet."""
    return "\n".join(Sd15Settings(model=str(model), controlnet=None, image_size=64, **others).problems(["a fox"], "auto"))


def test_a_whole_model_is_good(models: dict[str, Path]) -> None:
    assert said(models["sd15"]) == said(models["sd21"]) == ""


@pytest.mark.parametrize(
    ("part", "change", "expected"),
    [
        ("unet", {"block_out_channels": "wide"}, "block_out_channels = 'wide', expected a list of whole numbers"),
        ("unet", {"cross_attention_dim": [64, 64]}, "cross_attention_dim = [64, 64], expected a whole number above 0"),
        ("vae", {"scaling_factor": "x"}, "scaling_factor = 'x', expected a number"),
        ("text_encoder", {"max_position_embeddings": None}, "max_position_embeddings = None, expected a whole number above 0"),
        ("scheduler", {"beta_start": "a"}, "beta_start = 'a', expected a number"),
        ("scheduler", {"num_train_timesteps": 0}, "num_train_timesteps = 0, expected a whole number above 0"),
    ],
)
def test_values_of_another_type_are_named(broken: Path, part: str, change: dict[str, Any], expected: str) -> None:
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    sd.edit_json(broken / part / name, **change)
    assert f"backbone.model: {broken / part / name} has {expected}" in said(broken)


def test_a_config_without_what_is_needed_is_not_diffusers_default(broken: Path) -> None:
    (broken / "unet" / "config.json").write_text("{}")
    assert "has no cross_attention_dim and no block_out_channels: download it again" in said(broken)


def test_another_part_in_a_folder_is_named(broken: Path, models: dict[str, Path]) -> None:
    shutil.rmtree(broken / "unet")
    shutil.copytree(sd.controlnet_of(models["sd15"]), broken / "unet")
    found = said(broken)
    assert "unet is a ControlNet, not a U-Net" in found
    assert "are those of another network, not of a U-Net" in found
    assert "is a U-Net, not an autoencoder" in said(models["sd15"], vae=str(models["sd15"] / "unet"))
    whole = said(models["sd15"], vae=str(models["sd15"]))
    assert f"is a whole model, not an autoencoder: give the folder of that part alone, which is {models['sd15'] / 'vae'}" in whole


@pytest.mark.parametrize("index", [{"weight_map": ["a"]}, {"weight_map": {"a": 3}}, {}])
def test_an_index_that_is_none_is_refused(broken: Path, index: dict[str, Any]) -> None:
    (broken / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (broken / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    assert "is no index of shards" in said(broken)


def test_a_folder_that_says_nothing_of_its_pipeline_is_read(broken: Path) -> None:
    (broken / "model_index.json").write_text(json.dumps({"_class_name": None}))
    assert said(broken) == ""


def test_a_tokenizer_without_its_merges_reads_words_in_pieces(broken: Path) -> None:
    merges = broken / "tokenizer" / "merges.txt"
    lines = merges.read_text().splitlines()
    merges.write_text("\n".join(lines[: len(lines) // 2]))
    assert f"{merges} has {len(lines) // 2 - 1} merges for" in said(broken)


def test_what_a_folder_does_not_read_is_told(models: dict[str, Path]) -> None:
    model = models["sd15"]
    assert f"backbone.model: {model} is on this disk and has no revisions" in said(model, revision="abc")
    assert f"but {model} has its own, which is read; leave it out" in said(model, tokenizer=str(model))
    assert "is a web address: give the hub's id" in said(Path("x"), vae="https://huggingface.co/owner/vae")


def test_loras_of_another_size_are_told_before_loading(models: dict[str, Path], tmp_path: Path) -> None:
    def told(name: str, a: int, b: int, up: str = "lora_B", down: str = "lora_A") -> str:
        pair = {f"{name}.{down}.weight": torch.zeros(4, a), f"{name}.{up}.weight": torch.zeros(b, 4)}
        save_file(pair, tmp_path / "lora.safetensors")
        return said(models["sd15"], loras=(LoraSettings(path=str(tmp_path / "lora.safetensors")),))

    block = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"
    kohya = ("lora_up", "lora_down")
    assert told(f"unet.{block}.to_k", 64, 32) == told(f"lora_unet_{block}.to_k".replace(".", "_"), 64, 32, *kohya) == ""
    assert told(f"unet.{block}.processor", 32, 32, "to_out_lora.up", "to_out_lora.down") == ""
    assert "attn2_to_k, which the model has in another size" in told(f"unet.{block}.to_k", 64, 320)
    assert "attn2_to_out_0, which" in told(f"unet.{block}.processor", 64, 32, "to_out_lora.up", "to_out_lora.down")
    layer = "text_model.encoder.layers.0.self_attn.q_proj"
    assert "encoder_layers_0_self_attn_q_proj, which" in told(f"text_encoder.{layer}", 1024, 1024)
    assert "encoder_layers_0_self_attn_q_proj, which" in told(f"lora_te_{layer}".replace(".", "_"), 1024, 1024, *kohya)
    assert "changes two text encoders, as LoRAs for SDXL do" in told(f"lora_te1_{layer}".replace(".", "_"), 768, 768, *kohya)
    assert "is a LoRA: give it in backbone.loras" in said(tmp_path / "lora.safetensors")


def test_a_word_is_given_to_one_embedding(models: dict[str, Path], tmp_path: Path) -> None:
    save_file({"emb_params": torch.zeros(2, 64)}, tmp_path / "own.safetensors")
    own = [EmbeddingSettings(path=str(tmp_path / "own.safetensors"), token=token) for token in ("<own>", "<own>", "fox</w>")]
    found = said(models["sd15"], embeddings=tuple(own))
    assert "backbone.embeddings.1.token: <own> is a word that the tokenizer or another" in found
    assert "backbone.embeddings.2.token: fox</w> is a word" in found
    assert "backbone.embeddings.0" not in found


def test_the_words_of_embeddings_are_as_many_tokens_as_they_have_vectors(models: dict[str, Path], tmp_path: Path) -> None:
    """Of 16 tokens two are the ends: "a" and one word of 13 vectors fit, with another word it does not."""
    save_file({"emb_params": torch.zeros(13, 64)}, tmp_path / "own.safetensors")
    own = (EmbeddingSettings(path=str(tmp_path / "own.safetensors"), token="<own>"),)
    settings = Sd15Settings(model=str(models["sd15"]), controlnet=None, image_size=64, embeddings=own)
    assert settings.problems(["a <own>"], "auto") == []
    (told,) = settings.problems(["a <own>", "a red <own>"], "auto")
    assert "the prompt 'a red <own>'… has 17 tokens, but the model reads 16" in told
    model = settings.build()
    words = model.tokenizer(model.parts.spell(["a red <own>"]))  # pyright: ignore[reportOptionalCall]
    assert len(words.input_ids[0]) == 17, "and so the loaded model counts"
