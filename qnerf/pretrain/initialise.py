"""What a training of the diffusion model starts from: another training, or weights that spare it what it learns slowest."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTokenizer

from qnerf.backbones.puppet import PuppetSettings
from qnerf.errors import UserError
from qnerf.pretrain.checkpoint import CHECKPOINT, averaged_weights
from qnerf.pretrain.words import translate

LOOSE = "loose_controlnet."
_OTHERS = 0.1  # factor on the output layer's weights of all other channels: they start as a small correction


def load_initial(modules: nn.ModuleDict, folder: Path, tokenizer: CLIPTokenizer) -> None:
    """Puts the averaged weights of a training's output folder, or those of an exported model folder, into the modules.

    Words that the model knows keep their embeddings, others start at random. A ControlNet that was never trained, its output still
    zero, or that the model lacks starts as the U-Net's copy. Raises UserError where neither is there, and where the model is of
    other sizes.
    """
    if (folder / CHECKPOINT).is_file():
        weights = averaged_weights(folder)
    elif (folder / "unet" / "config.json").is_file():
        model = PuppetSettings(path=str(folder)).build()
        parts = {name: part.state_dict() for name in modules if (part := getattr(model.parts, name)) is not None}
        weights = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.items()}
    else:
        raise UserError(
            f"stage.initial: {folder} has neither {CHECKPOINT} (of a training) nor unet/config.json (of a "
            "model): give the output folder of a training or of stage=export."
        )
    if not any(name.startswith(LOOSE) for name in weights):
        weights |= {name: value for name, value in modules.state_dict().items() if name.startswith(LOOSE)}
    try:
        modules.load_state_dict(translate(weights, modules, tokenizer.get_vocab()))
    except RuntimeError as error:
        raise UserError(
            f"stage.initial: the model in {folder} has another size, expected that of this stage: give another folder."
        ) from error
    for name in ("controlnet", "loose_controlnet"):
        net = cast(ControlNetModel, modules[name])
        if not was_trained(net):
            copy_encoder(cast(UNet2DConditionModel, modules["unet"]), net)


def was_trained(net: ControlNetModel) -> bool:
    """Whether a ControlNet ever was: its outputs start at zero."""
    return any(bool(layer.get_parameter("weight").any()) for layer in net.controlnet_down_blocks)


def copy_encoder(unet: UNet2DConditionModel, net: ControlNetModel) -> None:
    """Gives a ControlNet the U-Net's encoder (Zhang et al., "Adding conditional control", 2023, §3.1)."""
    for name in ("conv_in", "time_embedding", "down_blocks", "mid_block"):
        getattr(net, name).load_state_dict(getattr(unet, name).state_dict())


@torch.no_grad()
def start_from_copy(unet: UNet2DConditionModel) -> None:
    """Changes the U-Net in place so that it predicts its input: ε̂(z_t, t) ≈ z_t, which is right at high noise.

    The predicted noise is read as a clean image by dividing its error by sqrt(ā), 15-fold at t = 999, so the copy must be
    precise to a percent; from random weights that took a short training all its steps (error of the clean image 1.24 there
    after 40,000 samples, where a constant has 1). It is the skip connection of Karras et al. ("Elucidating the design space",
    2022, §5) laid into the weights, since the architecture has none round the whole network. All of it is trained on.

    Each latent channel takes two of the first layer's channels, z and −z: they pass the last skip connection and the last
    block's shortcut, and leave by the output layer, where silu(z) − silu(−z) = z. In pairs their mean is 0, so that the group
    normalisation between only scales them.
    """
    latents = unet.conv_in.in_channels
    paths = slice(0, 2 * latents)
    last = unet.up_blocks[-1]
    block, attention = last.get_submodule("resnets")[-1], last.get_submodule("attentions")[-1]  # pyright: ignore[reportIndexIssue]
    signs = torch.eye(latents).repeat_interleave(2, dim=0) * torch.tensor([1.0, -1.0]).repeat(latents)[:, None]
    _zero_rows(unet.conv_in, paths)
    _centre(unet.conv_in.weight)[paths] = signs
    _zero_rows(block.conv_shortcut, paths)
    _centre(block.conv_shortcut.weight)[paths, -block.conv_shortcut.out_channels :][:, paths] = torch.eye(2 * latents)
    _zero_rows(block.conv2, paths)
    _zero_rows(attention.proj_out, paths)
    unet.conv_out.weight.mul_(_OTHERS)
    unet.conv_out.get_parameter("bias").zero_()
    unet.conv_out.weight[:, paths] = 0
    _centre(unet.conv_out.weight)[:, paths] = signs.T


def _zero_rows(layer: nn.Conv2d, rows: slice) -> None:
    layer.weight[rows] = 0
    assert layer.bias is not None
    layer.bias[rows] = 0


def _centre(weight: Tensor) -> Tensor:
    """The middle tap of a convolution's weight, (out, in), as a view."""
    return weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2]
