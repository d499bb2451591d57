"""stage=decoder: a larger decoder for the latents of a finished autoencoder, trained where it matters, on objects.

The encoder stays what it is, and with it the latents, the U-Net and the ControlNets.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from qnerf.backbones.architecture import PuppetWidths
from qnerf.backbones.decoder import LatentDecoder, widened_decoder
from qnerf.classifiers.labels import silhouettes
from qnerf.devices import pick_device
from qnerf.metrics.fidelity import psnr
from qnerf.pretrain.data import PART_CELL, Batch, PuppetSamples, Repeated, WithPhotographs, load_batch
from qnerf.pretrain.loop import train
from qnerf.pretrain.settings import DecoderStage
from qnerf.pretrain.sheets import write_sheet
from qnerf.pretrain.vae import TEST_SEED, load_decoder, load_vae

FLOOR = 1e-5  # mean squared error, on the [-1, 1] scale, below which a picture is good enough: 56 dB


class DecoderTrainee:
    """The decoder with its loss."""

    def __init__(self, settings: DecoderStage, widths: PuppetWidths) -> None:
        self.settings = settings
        self.device = pick_device(settings.device, "stage.device")
        torch.manual_seed(settings.seed)
        layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        vae = load_vae(settings.vae, "stage.vae").eval().requires_grad_(False)
        initial = settings.initial and load_decoder(settings.initial, "stage.initial")
        self.decoder: LatentDecoder = initial or widened_decoder(vae, settings.factor)
        for module in (vae, self.decoder):
            module.to(device=self.device, memory_format=layout)  # pyright: ignore[reportCallIssue]
        self.vae = vae
        self.modules = nn.ModuleDict({"decoder": self.decoder}).train()
        what = {"details": {"bones": 1.0}, "world": settings.world, "kinds": settings.kinds and {**settings.kinds}}
        samples = WithPhotographs(settings.seed, widths.image, **what)
        samples.share = settings.photographs
        self.samples = Repeated(samples, settings.distinct)
        self.tests = load_batch(PuppetSamples(TEST_SEED, widths.image, **what, heldout=True), range(32))

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """The mean over pictures of log(weighted mean squared error + FLOOR): every dB counts alike, in whatever picture."""
        with torch.no_grad(), self._autocast():
            moments = self.vae.quant_conv(self.vae.encoder(2 * batch.images.to(self.device) - 1)).float()  # pyright: ignore[reportOptionalCall]
            mean, log_variance = moments.chunk(2, dim=1)
            noise = torch.randn(mean.shape, generator=generator).to(self.device)
            z = self.vae.post_quant_conv(mean + (0.5 * log_variance.clamp(-30, 20)).exp() * noise).float()  # pyright: ignore[reportOptionalCall]
        weights = object_weights(batch.parts, self.settings.objects).to(self.device)
        windows = windows_round(batch.parts, self.settings.crop // PART_CELL if self.settings.crop else None, generator)
        target = cut(2 * batch.images.to(self.device) - 1, windows, PART_CELL)
        with self._autocast():
            decoded = self.decoder(cut(z, windows, 1))
        error = (decoded.float() - target).square().mean(dim=1)
        weights = cut(weights[:, None], windows, 1)[:, 0]
        weights = weights.repeat_interleave(PART_CELL, dim=1).repeat_interleave(PART_CELL, dim=2)
        loss = weighted_log_error(error, weights)
        return loss, {"psnr": float(-10 * (error.detach().flatten(1).mean(dim=1) / 4).log10().mean())}

    def sheet(self, path: Path) -> dict[str, float]:
        images = self.tests.images.to(self.device)
        objects = silhouettes(self.tests.parts).repeat_interleave(PART_CELL, dim=1).repeat_interleave(PART_CELL, dim=2)
        with torch.no_grad():
            z = self.vae.encode(2 * images - 1).latent_dist.mean  # pyright: ignore[reportAttributeAccessIssue]
            decoded = (self.decoder(self.vae.post_quant_conv(z)) / 2 + 0.5).clamp(0, 1)  # pyright: ignore[reportOptionalCall]
        write_sheet(path, [list(images[:8]), list(decoded[:8])])
        return {
            "round_trip_psnr": psnr(decoded, images),
            "round_trip_psnr_object": psnr(decoded, images, objects.to(self.device)),
        }

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16")


def object_weights(parts: Tensor, weight: float) -> Tensor:
    """(B, s, s): `weight` in the cells of the object and in those beside them, where its outline is, and 1 elsewhere.

    parts: (B, s, s) part maps.
    """
    inside = silhouettes(parts).float()[:, None]
    return torch.nn.functional.max_pool2d(inside, 3, stride=1, padding=1)[:, 0] * (weight - 1) + 1


def weighted_log_error(error: Tensor, weights: Tensor) -> Tensor:
    """The mean over pictures of log(sum of w e / sum of w + FLOOR). error, weights: (B, H, W)."""
    means = (error * weights).flatten(1).sum(dim=1) / weights.flatten(1).sum(dim=1)
    return (means + FLOOR).log().mean()


def windows_round(parts: Tensor, side: int | None, generator: torch.Generator) -> list[tuple[int, int, int, int]]:
    """For each picture (top, left, height, width), in cells, of a square round its object, moved by up to a quarter of its side.

    side: in cells; None: whole pictures. A picture without object has a random square.
    """
    height, width = parts.shape[-2:]
    if side is None or side >= min(height, width):
        return [(0, 0, height, width)] * len(parts)
    windows = []
    for inside in silhouettes(parts):
        cells = inside.nonzero().float()
        corner = []
        for axis, extent in enumerate((height, width)):
            shift = float(torch.rand((), generator=generator))
            middle = float(cells[:, axis].mean()) + (shift - 0.5) * side / 2 if len(cells) else shift * extent
            corner.append(int(min(max(middle - side / 2, 0), extent - side)))
        windows.append((*corner, side, side))
    return windows


def cut(maps: Tensor, windows: list[tuple[int, int, int, int]], scale: int) -> Tensor:
    """Each of the maps (B, C, H, W) in its window, whose unit is `scale` pixels."""
    pieces = [
        one[:, scale * top : scale * (top + height), scale * left : scale * (left + width)]
        for one, (top, left, height, width) in zip(maps, windows, strict=True)
    ]
    return torch.stack(pieces)


def train_decoder(settings: DecoderStage, widths: PuppetWidths | None = None) -> Path:
    """Trains the decoder and leaves its averaged weights in <output>/model."""
    trainee = DecoderTrainee(settings, widths or PuppetWidths())
    folder = Path(settings.output) / "model"
    with train(trainee, settings).applied():
        trainee.decoder.save_pretrained(folder)
    print(f"saved to {folder}", flush=True)
    return folder
