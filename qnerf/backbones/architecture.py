"""The embedded backbone's architecture: Stable Diffusion 1.5's topology made narrow, in diffusers'
classes.

Four levels, two residual blocks a level, cross-attention on the upper three: the 16 self-attention
layers of SD 1.5, at the same places. Only widths, head counts, the number of text layers and the
autoencoder's depth differ.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from qnerf.backbones.diffusion import BackboneParts, DiffusionBackbone
from qnerf.scenes.procedural.captions import VOCABULARY

START, END = "<|startoftext|>", "<|endoftext|>"


@dataclass(frozen=True)
class PuppetWidths:
    """Sizes of the embedded model. heads: attention heads per level (diffusers calls them
    `attention_head_dim`)."""

    image: int = 128
    unet: tuple[int, int, int, int] = (32, 64, 112, 112)
    heads: tuple[int, int, int, int] = (2, 4, 4, 4)
    groups: int = 8
    control: tuple[int, ...] = (16, 32, 64)
    vae: tuple[int, ...] = (16, 32, 64)
    text: int = 64
    text_layers: int = 2
    tokens: int = 32

    @property
    def latent(self) -> int:
        return self.image // 2 ** (len(self.vae) - 1)


TINY = PuppetWidths(
    image=32, unet=(8, 8, 16, 16), heads=(1, 1, 2, 2), groups=4, control=(4, 8, 8), vae=(8, 8, 8), text=16, text_layers=1
)


def build_puppet(seed: int, widths: PuppetWidths | None = None, words: tuple[str, ...] = VOCABULARY) -> BackboneParts:
    """The model with random weights that follow from the seed; the ControlNets start as in training,
    with zero output.

    words: those of the world that it is trained on. Trained models bring their own tokenizer.
    """
    widths = widths or PuppetWidths()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = build_unet(widths)

        def build_controlnet() -> ControlNetModel:
            return ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=widths.control)

        return BackboneParts(
            unet=unet,
            controlnet=build_controlnet(),
            vae=build_vae(widths),
            text_encoder=build_text_encoder(widths, words),
            tokenizer=build_tokenizer(words, widths.tokens),
            scheduler=build_scheduler(),
            loose_controlnet=build_controlnet(),
        )


def tiny_backbone(seed: int = 0) -> DiffusionBackbone:
    """A random backbone of the same topology for tests: 32 px images, 8 x 8 latents; its ControlNet
    does respond."""
    parts = build_puppet(seed, TINY)
    parts = replace(parts, loose_controlnet=None)
    generator = torch.Generator().manual_seed(seed + 1)
    assert parts.controlnet is not None
    with torch.no_grad():
        for layer in (*parts.controlnet.controlnet_down_blocks, parts.controlnet.controlnet_mid_block):
            weight = layer.get_parameter("weight")
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
        out = parts.controlnet.controlnet_cond_embedding.conv_out.weight
        out.copy_(torch.randn(out.shape, generator=generator) * 0.3)
    return DiffusionBackbone(parts, (TINY.image, TINY.image), revision=f"tiny-{seed}")


def build_unet(widths: PuppetWidths) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=widths.latent,
        block_out_channels=widths.unet,
        layers_per_block=2,
        attention_head_dim=widths.heads,  # pyright: ignore[reportArgumentType]
        cross_attention_dim=widths.text,
        norm_num_groups=widths.groups,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),  # pyright: ignore[reportArgumentType]
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,  # pyright: ignore[reportArgumentType]
    )


def build_vae(widths: PuppetWidths) -> AutoencoderKL:
    """The autoencoder, without attention in its middle block: that one layer would cost as much as the
    rest on CPU."""
    levels = len(widths.vae)
    return AutoencoderKL(
        sample_size=widths.image,
        latent_channels=4,
        block_out_channels=widths.vae,  # pyright: ignore[reportArgumentType]
        layers_per_block=1,
        norm_num_groups=widths.groups,
        mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",) * levels,  # pyright: ignore[reportArgumentType]
        up_block_types=("UpDecoderBlock2D",) * levels,  # pyright: ignore[reportArgumentType]
    )


def build_text_encoder(widths: PuppetWidths, words: tuple[str, ...]) -> CLIPTextModel:
    """CLIP's text model with token embeddings of deviation 0.5.

    CLIP's own 0.02 is made for long trainings: in a short one the states of all words stay alike
    (colours differed by 4 % of a state's norm after 20,000 samples) and the UNet never learns to read
    them.
    """
    vocabulary = clip_vocabulary(words)
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=widths.text,
            intermediate_size=4 * widths.text,
            num_hidden_layers=widths.text_layers,
            num_attention_heads=max(1, widths.text // 16),
            max_position_embeddings=widths.tokens,
            projection_dim=widths.text,
            bos_token_id=vocabulary[START],
            eos_token_id=vocabulary[END],
            pad_token_id=vocabulary[END],
        )
    )
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=0.5)  # pyright: ignore[reportArgumentType]
    return model


def clip_vocabulary(words: tuple[str, ...]) -> dict[str, int]:
    """Token ids: single letters, then every prefix that CLIP's byte-pair merges pass through, then the
    special tokens."""
    letters = sorted({letter for word in words for letter in word} | set("abcdefghijklmnopqrstuvwxyz"))
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    for merge in clip_merges(words):
        token = merge.replace(" ", "")
        if token not in tokens:
            tokens.append(token)
    return {token: index for index, token in enumerate([*tokens, START, END])}


def clip_merges(words: tuple[str, ...]) -> list[str]:
    """Byte-pair merges, in order of rank, that make each word one token.

    Each word is first cut by the merges found so far; what is left in pieces is joined by further
    merges. Those rank last, so no earlier word, being whole by then, is cut otherwise.
    """
    merges: list[tuple[str, str]] = []
    for word in words:
        pieces = _merged([*word[:-1], word[-1] + "</w>"], merges)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = _merged(pieces, merges)
    return [f"{left} {right}" for left, right in merges]


def _merged(pieces: list[str], merges: list[tuple[str, str]]) -> list[str]:
    """Byte-pair encoding: joins the neighbouring pair of lowest rank, at all its places, until no merge
    applies."""
    while True:
        pairs = set(itertools.pairwise(pieces))
        first = next((merge for merge in merges if merge in pairs), None)
        if first is None:
            return pieces
        joined: list[str] = []
        for piece in pieces:
            if joined and (joined[-1], piece) == first:
                joined[-1] += piece
            else:
                joined.append(piece)
        pieces = joined


def build_tokenizer(words: tuple[str, ...], tokens: int) -> CLIPTokenizer:
    """A CLIPTokenizer of a small vocabulary, cutting and padding to `tokens`."""
    with tempfile.TemporaryDirectory() as folder:
        vocabulary, merges = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocabulary.write_text(json.dumps(clip_vocabulary(words)), encoding="utf-8")
        merges.write_text("\n".join(["#version: 0.2", *clip_merges(words)]) + "\n", encoding="utf-8")
        return CLIPTokenizer.from_pretrained(folder, model_max_length=tokens, pad_token=END, local_files_only=True)


def build_scheduler() -> DDIMScheduler:
    """SD 1.5's noise schedule (docs/method.md §1)."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )
