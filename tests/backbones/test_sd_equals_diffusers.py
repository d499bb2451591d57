"""Five guided steps with control, by this project's arithmetic and by diffusers' own pipeline, on random models of SD's shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from qnerf.attention.layers import self_attention_layers
from qnerf.backbones.conditioning import Conditioning, Control
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.process import DiscreteProcess
from qnerf.backbones.sd15 import Sd15Settings
from qnerf.backbones.sd_settings import EmbeddingSettings, FurtherNetSettings, LoraSettings
from qnerf.denoising.combination import guided_noise
from qnerf.denoising.ddim import ddim_step
from tests.backbones import sd_models as sd

PROMPT = "a red fox with tall ears"
Z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
DRAWINGS = list(torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(2)))


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sd.build_folder(tmp_path_factory.mktemp("sd") / "sd15")


@pytest.fixture(scope="module")
def ours(sd15: Path) -> DiffusionBackbone:
    return settings(sd15).build()


@pytest.fixture(scope="module")
def theirs(sd15: Path) -> sd.Theirs:
    return sd.Theirs(sd15, [sd.controlnet_of(sd15)])


def settings(folder: Path, **others: Any) -> Sd15Settings:
    return Sd15Settings(model=str(folder), controlnet=str(sd.controlnet_of(folder)), image_size=64, acceleration="none", **others)


def our_latents(backbone: DiffusionBackbone, z: Tensor, controls: list[Control], prompt: str = PROMPT) -> list[Tensor]:
    steps, seen = backbone.process.steps(5), []
    whole = [Conditioning(backbone.embed([words]), tuple(controls)) for words in ("", prompt)]
    for k, t in enumerate(steps.timesteps):
        null, text = (each.at(k, len(steps)) for each in whole)
        noise = guided_noise(backbone.predict(z, t, null), backbone.predict(z, t, text), 7.5)
        z = ddim_step(z, noise, steps, k, k + 1)
        seen.append(z)
    return seen


def check(ours: list[Tensor], theirs: list[Tensor], within: float = 1e-4) -> None:
    """The latents of all states, relative to their size."""
    errors = [float((a - b).norm() / b.norm()) for a, b in zip(ours, theirs, strict=True)]
    assert max(errors) <= within, errors


@pytest.mark.parametrize(
    "schedule",
    [
        {},
        {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
        {"prediction_type": "sample"},
        {"beta_schedule": "linear", "steps_offset": 0, "set_alpha_to_one": True},
        {"beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "trailing"},
    ],
    ids=lambda changes: ",".join(map(str, changes.values())) or "epsilon",
)
def test_every_schedule_is_obeyed(sd15: Path, ours: DiffusionBackbone, theirs: sd.Theirs, schedule: dict[str, Any]) -> None:
    sd.set_scheduler(sd15, **schedule)
    theirs.pipeline.scheduler = DDIMScheduler.from_pretrained(sd15 / "scheduler")
    model, _, _ = settings(sd15).read()
    sd.set_scheduler(sd15)
    assert model is not None
    before, ours.process = ours.process, DiscreteProcess(model.schedule)
    try:
        rounding = 1e-3 if "sample" in schedule.values() else 1e-4  # ε of x is a difference divided by a small sigma
        check(our_latents(ours, Z, [Control(DRAWINGS[0], 0.8)]), theirs(PROMPT, Z, DRAWINGS[:1], [0.8]), rounding)
    finally:
        ours.process = before
        theirs.pipeline.scheduler = DDIMScheduler.from_pretrained(sd15 / "scheduler")


def test_stable_diffusion_2_in_v(tmp_path: Path) -> None:
    folder = sd.build_folder(tmp_path / "sd21", sd.SD21)
    check(
        our_latents(settings(folder).build(), Z, [Control(DRAWINGS[0], 0.8)]),
        sd.Theirs(folder, [sd.controlnet_of(folder)])(PROMPT, Z, DRAWINGS[:1], [0.8]),
    )


def test_two_controlnets_with_their_scales_and_steps_at_a_size_that_is_not_square(sd15: Path, tmp_path: Path) -> None:
    """The first acts in the first three of five steps, the second in the third and the fourth, all that .4 to .9 hold."""
    second = sd.controlnet_of(sd.build_folder(tmp_path / "other", seed=5))
    more = (FurtherNetSettings(controlnet=str(second), kind="other", scale=0.5),)
    z, drawings = torch.cat([Z, Z], dim=3), [torch.cat([x, x], dim=3) for x in DRAWINGS]
    controls = [Control(drawings[0], 0.8, stop=0.7), Control(drawings[1], 0.5, start=0.4, stop=0.9, net=1)]
    shares = {"control_guidance_start": [0.0, 0.4], "control_guidance_end": [0.7, 0.9]}
    check(
        our_latents(settings(sd15, more_controlnets=more).build(), z, controls),
        sd.Theirs(sd15, [sd.controlnet_of(sd15), second])(PROMPT, z, drawings, [0.8, 0.5], **shares),
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_no_further_away_than_diffusers_own(sd15: Path, theirs: sd.Theirs, dtype: str) -> None:
    exact = theirs(PROMPT, Z, DRAWINGS[:1], [0.8])
    half = sd.Theirs(sd15, [sd.controlnet_of(sd15)], getattr(torch, dtype))(PROMPT, Z, DRAWINGS[:1], [0.8])
    found = our_latents(settings(sd15, dtype=dtype).build(), Z, [Control(DRAWINGS[0], 0.8)])
    check(found, exact, max(float((a - b).norm() / b.norm()) for a, b in zip(half, exact, strict=True)))


def test_clip_skip_leaves_the_last_layers_out(sd15: Path, theirs: sd.Theirs) -> None:
    backbone = settings(sd15, clip_skip=1).build()
    encoder = theirs.pipeline.text_encoder
    how = {"padding": "max_length", "max_length": sd.TOKENS, "return_tensors": "pt"}
    ids, null = (theirs.pipeline.tokenizer([words], **how).input_ids for words in (PROMPT, ""))
    body = getattr(encoder, "text_model", encoder)
    with torch.no_grad():
        states = [encoder(tokens, output_hidden_states=True).hidden_states[-2] for tokens in (ids, null)]
        expected, nothing = (body.final_layer_norm(each) for each in states)
    torch.testing.assert_close(backbone.embed([PROMPT]), expected)
    assert not torch.allclose(backbone.embed([PROMPT]), encoder(ids).last_hidden_state, atol=1e-2)
    # The pipeline's own clip_skip does not know the newest text encoders, so it is given the states.
    given = {"prompt_embeds": expected, "negative_prompt_embeds": nothing}
    check(our_latents(backbone, Z, [Control(DRAWINGS[0], 0.8)]), theirs(None, Z, DRAWINGS[:1], [0.8], **given))
    assert "the text encoder has 3 layers" in "\n".join(settings(sd15, clip_skip=3).problems(["a"], "images"))


UNET_LAYER, TEXT_LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k", "encoder.layers.1.self_attn.q_proj"


def test_loras_add_their_products_in_every_usual_naming(sd15: Path, tmp_path: Path) -> None:
    """W + scale · alpha / rank · B A, by hand, in the U-Net (linear layer and convolution) and the text encoder."""
    random = torch.Generator().manual_seed(3)
    places = {"unet": (UNET_LAYER, (32, 64)), "conv": ("down_blocks.0.resnets.0.conv1", (32, 32)), "te": (TEXT_LAYER, (64, 64))}
    down = {key: torch.randn(4, shape[1], generator=random) for key, (_, shape) in places.items()}
    up = {key: torch.randn(shape[0], 4, generator=random) for key, (_, shape) in places.items()}
    down["conv"] = torch.randn(4, 32, 3, 3, generator=random)
    up["conv"] = up["conv"][:, :, None, None]
    kohya: dict[str, Tensor] = {}
    for key, (path, _) in places.items():
        name = f"lora_{'te_text_model' if key == 'te' else 'unet'}_{path.replace('.', '_')}"
        kohya |= {f"{name}.lora_down.weight": down[key], f"{name}.lora_up.weight": up[key], f"{name}.alpha": torch.tensor(2.0)}
    save_file(kohya, tmp_path / "kohya.safetensors")
    peft = {f"{'text_encoder.text_model' if key == 'te' else 'unet'}.{path}": key for key, (path, _) in places.items()}
    sides = {f"{name}.lora_{side}.weight": pair[key] for name, key in peft.items() for side, pair in (("A", down), ("B", up))}
    save_file(sides, tmp_path / "peft.safetensors")
    plain = settings(sd15).build()
    loras = (
        LoraSettings(path=str(tmp_path / "kohya.safetensors"), scale=0.5),
        LoraSettings(path=str(tmp_path / "peft.safetensors")),
    )
    changed = settings(sd15, loras=loras)
    assert changed.problems(["a fox"], "images") == changed.control_problems("images")
    changed = changed.build()
    for key, (path, _) in places.items():
        before, after = (getattr(b, "text_encoder" if key == "te" else "unet") for b in (plain, changed))
        prefix = "text_model." if key == "te" and hasattr(before, "text_model") else ""
        product = torch.einsum("or,ri...->oi...", up[key].flatten(1), down[key])
        expected = before.get_submodule(prefix + path).weight + (0.5 * 2 / 4 + 1) * product
        torch.testing.assert_close(after.get_submodule(prefix + path).weight, expected)


def test_a_lora_over_five_guided_steps_is_the_pipelines_own(sd15: Path, tmp_path: Path) -> None:
    """diffusers' own way of adding it needs the peft package, which `make nightly` has."""
    pytest.importorskip("peft")
    random, pairs = torch.Generator().manual_seed(7), {}
    places = {UNET_LAYER: (32, 64), "mid_block.attentions.0.transformer_blocks.0.attn1.to_q": (64, 64)}
    for net, path, (out, width) in [
        *(("unet", *each) for each in places.items()),
        ("text_encoder.text_model", TEXT_LAYER, (64, 64)),
    ]:
        pairs[f"{net}.{path}.lora_A.weight"] = torch.randn(4, width, generator=random) / 4
        pairs[f"{net}.{path}.lora_B.weight"] = torch.randn(out, 4, generator=random) / 4
    save_file(pairs, tmp_path / "lora.safetensors")
    theirs = sd.Theirs(sd15, [sd.controlnet_of(sd15)])
    theirs.pipeline.load_lora_weights(str(tmp_path), weight_name="lora.safetensors", adapter_name="own")
    theirs.pipeline.set_adapters(["own"], [0.7])
    found = settings(sd15, loras=(LoraSettings(path=str(tmp_path / "lora.safetensors"), scale=0.7),)).build()
    check(our_latents(found, Z, [Control(DRAWINGS[0], 0.8)]), theirs(PROMPT, Z, DRAWINGS[:1], [0.8]))


def test_a_lora_over_five_guided_steps(sd15: Path, tmp_path: Path) -> None:
    """Its product is added by hand to the U-Net of diffusers' pipeline, whose own way of adding it needs the peft package."""
    random = torch.Generator().manual_seed(6)
    a, b = torch.randn(4, 64, generator=random), torch.randn(32, 4, generator=random)
    save_file({f"unet.{UNET_LAYER}.lora_A.weight": a, f"unet.{UNET_LAYER}.lora_B.weight": b}, tmp_path / "lora.safetensors")
    theirs = sd.Theirs(sd15, [sd.controlnet_of(sd15)])
    before = theirs(PROMPT, Z, DRAWINGS[:1], [0.8])
    with torch.no_grad():
        theirs.pipeline.unet.get_submodule(UNET_LAYER).weight.add_(0.7 * b @ a)
    lora = LoraSettings(path=str(tmp_path / "lora.safetensors"), scale=0.7)
    found = our_latents(settings(sd15, loras=(lora,)).build(), Z, [Control(DRAWINGS[0], 0.8)])
    check(found, theirs(PROMPT, Z, DRAWINGS[:1], [0.8]))
    assert float((found[-1] - before[-1]).norm() / before[-1].norm()) > 1e-3, "it does something"


def test_loras_and_embeddings_for_other_models_are_refused(sd15: Path, tmp_path: Path) -> None:
    wide = {"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": torch.zeros(4, 1024)}
    save_file(wide, tmp_path / "wide.safetensors")
    save_file({"emb_params": torch.zeros(1, 1024)}, tmp_path / "embedding.safetensors")
    save_file({"emb_params": torch.zeros(1, 64)}, tmp_path / "nameless.safetensors")
    files = {name: str(tmp_path / f"{name}.safetensors") for name in ("wide", "embedding", "nameless", "nowhere")}
    added = [EmbeddingSettings(path=files[name]) for name in ("embedding", "nameless")]
    loras = (LoraSettings(path=files["wide"]), LoraSettings(path=files["nowhere"]))
    said = settings(sd15, loras=loras, embeddings=tuple(added), control={"kind": "other"}).problems(["a fox"], "images")
    assert len(said) == 4
    assert "made for texts of width 1024 (Stable Diffusion 2.x), but the model's have 64" in said[0]
    assert "backbone.loras.1.path: " in said[1]
    assert "has vectors of width 1024" in said[2]
    assert said[3].startswith("backbone.embeddings.1.token: no value given")


def test_textual_inversions_are_words_of_prompts(sd15: Path, tmp_path: Path) -> None:
    vectors = torch.randn(2, 64, generator=torch.Generator().manual_seed(4))
    save_file({"<mine>": vectors}, tmp_path / "mine.safetensors")
    added = (EmbeddingSettings(path=str(tmp_path / "mine.safetensors")),)
    backbone = settings(sd15, embeddings=added).build()
    spelt = backbone.parts.spell
    assert spelt is not None
    ids = backbone.tokenizer(spelt(["a <mine> fox"])).input_ids[0]
    assert len(ids) == 2 + 4, "two tokens for the one word"
    table: Any = backbone.text_encoder.get_input_embeddings().weight
    torch.testing.assert_close(table[ids[2:4]], vectors)
    assert not torch.equal(backbone.embed(["a <mine> fox"]), backbone.embed(["a fox"]))


@pytest.mark.parametrize(("text", "linear"), [(768, False), (1024, True)], ids=["1.5", "2.1"])
def test_full_size_models_have_the_layers_whose_queries_are_recorded(text: int, linear: bool) -> None:
    """On the meta device, by their published configs: 16 self-attention layers, and the decoder's 9 of 6,720 channels."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            cross_attention_dim=text,
            attention_head_dim=[5, 10, 20, 20] if linear else 8,  # pyright: ignore[reportArgumentType]
            use_linear_projection=linear,
        )
    layers: list[Any] = [unet.get_submodule(layer.path) for layer in self_attention_layers(unet)]
    channels = [layer.to_q.weight.shape[0] for layer in layers]
    assert len(layers) == 16
    assert sum(channels[7:]) == 6720
    heads = {count // layer.heads for count, layer in zip(channels, layers, strict=True)}
    assert heads == ({64} if linear else {40, 80, 160})
