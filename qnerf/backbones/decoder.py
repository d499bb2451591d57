"""A decoder that is larger than its autoencoder's encoder, which diffusers' AutoencoderKL cannot be: it has one list of widths.

It lies beside the autoencoder (`decoder/` in a model's folder) and takes the place of the decoder inside it. Pipelines of
diffusers read the same folder without it.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import Decoder
from torch import Tensor

SPREAD = 0.5  # of a channel's copies, in standard deviations of a layer's weights: equal copies would learn the same


class LatentDecoder(ModelMixin, ConfigMixin):  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
    """diffusers' `Decoder`, without attention in its middle block, as a model that is saved and loaded by itself.

    block_out_channels: widths from the finest level to the coarsest. It takes what leaves an autoencoder's `post_quant_conv`,
    (B, C, h, w), and returns images (B, 3, H, W) in [-1, 1].
    """

    @register_to_config
    def __init__(
        self, latent_channels: int, block_out_channels: tuple[int, ...], layers_per_block: int = 1, norm_num_groups: int = 8
    ) -> None:
        super().__init__()
        self.net = Decoder(
            in_channels=latent_channels,
            out_channels=3,
            up_block_types=("UpDecoderBlock2D",) * len(block_out_channels),
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            norm_num_groups=norm_num_groups,
            mid_block_add_attention=False,
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z)


def widened_decoder(vae: AutoencoderKL, factor: int, spread: float = SPREAD, seed: int = 0) -> LatentDecoder:
    """A decoder of `factor` times the widths that starts as good as the autoencoder's: each channel becomes copies of itself.

    Net2WiderNet of Chen, Goodfellow and Shlens, "Net2Net: accelerating learning via knowledge transfer" (ICLR 2016). Copies lie
    side by side, so that each group of the normalisation has the statistics that it had. With `spread` 0 the function is the
    same but for rounding; else the copies differ by noise of mean 0, which cancels in the first order.
    """
    c = vae.config
    widths = tuple(factor * width for width in c["block_out_channels"])
    wide = LatentDecoder(c["latent_channels"], widths, c["layers_per_block"], c["norm_num_groups"])
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, narrow in vae.decoder.state_dict().items():
        shape = wide.net.get_parameter(name).shape
        tensor = _copied(narrow, shape)
        copies = shape[0] // len(narrow)
        if copies > 1 and tensor.ndim > 1:
            noise = torch.randn((len(narrow), copies, *shape[1:]), generator=generator) * spread * tensor.std()
            tensor = tensor + (noise - noise.mean(dim=1, keepdim=True)).reshape(shape)
        weights[name] = tensor
    wide.net.load_state_dict(weights)
    return wide


def _copied(tensor: Tensor, shape: torch.Size) -> Tensor:
    """A layer's weights (out, in, …) or (out,) with each channel repeated up to `shape`; a repeated input counts its share."""
    tensor = tensor.repeat_interleave(shape[0] // len(tensor), dim=0)
    if tensor.ndim == 1:
        return tensor
    copies = shape[1] // tensor.shape[1]
    return tensor.repeat_interleave(copies, dim=1) / copies
