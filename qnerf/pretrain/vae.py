"""stage=vae: the autoencoder, and the scale of its latents."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from qnerf.backbones.architecture import PuppetWidths, build_vae
from qnerf.backbones.decoder import LatentDecoder
from qnerf.common.places import resolve
from qnerf.devices import pick_device
from qnerf.errors import UserError
from qnerf.pretrain.average import Average
from qnerf.pretrain.data import Batch, PuppetSamples, WithPhotographs, load_batch
from qnerf.pretrain.loop import train
from qnerf.pretrain.settings import VaeStage
from qnerf.pretrain.sheets import write_sheet

TEST_SEED = 900  # of the samples on the sheets and of the measurement of the latents' scale; never a training seed


class VaeTrainee:
    """The autoencoder with its loss."""

    def __init__(self, settings: VaeStage, widths: PuppetWidths) -> None:
        self.settings = settings
        self.device = pick_device(settings.device, "stage.device")
        torch.manual_seed(settings.seed)
        if settings.initial:
            self.vae = load_vae(settings.initial, "stage.initial")
        else:
            self.vae = build_vae(widths)
            _quiet_posterior(self.vae)
        if settings.decoder_only:
            for part in (self.vae.encoder, self.vae.quant_conv):
                part.requires_grad_(False)  # pyright: ignore[reportOptionalMemberAccess]
        self.vae.to(self.device)  # pyright: ignore[reportArgumentType]
        layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        self.vae.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
        self.modules = nn.ModuleDict({"vae": self.vae}).train()
        what = {"details": {"bones": 1.0}, "world": settings.world, "kinds": settings.kinds and {**settings.kinds}}
        self.samples = WithPhotographs(settings.seed, widths.image, **what)
        self.samples.share = settings.photographs
        self.heldout = PuppetSamples(TEST_SEED, widths.image, **what, heldout=True)
        self.tests = load_batch(self.heldout, range(16))

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        images = 2 * random_crop(batch.images, self.settings.crop, generator).to(self.device) - 1
        with self._autocast():
            moments = self.vae.quant_conv(self.vae.encoder(images)).float()  # pyright: ignore[reportOptionalCall]
        mean, log_variance = moments.chunk(2, dim=1)
        log_variance = log_variance.clamp(-30, 20)
        noise = torch.randn(mean.shape, generator=generator).to(self.device)
        with self._autocast():
            decoded = self.vae.decode(mean + (0.5 * log_variance).exp() * noise).sample  # pyright: ignore[reportAttributeAccessIssue]
        error = decoded.float() - images
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=(1, 2, 3)).mean()
        s = self.settings
        loss = error.abs().mean() + s.squared * error.square().mean() + s.gradient * gradient_error(error) + s.kl * kl
        return loss, {"psnr": psnr(error.detach() / 2), "kl": float(kl.detach())}

    def sheet(self, path: Path) -> dict[str, float]:
        images = self.tests.images.to(self.device)
        with torch.no_grad():
            decoded = self.vae.decode(self.vae.encode(2 * images - 1).latent_dist.mean).sample / 2 + 0.5  # pyright: ignore[reportAttributeAccessIssue]
        write_sheet(path, [list(images[:8]), list(decoded[:8])])
        return {"round_trip_psnr": psnr(decoded.clamp(0, 1) - images)}

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16")


def random_crop(images: Tensor, side: int | None, generator: torch.Generator) -> Tensor:
    """The same random square (B, 3, side, side) of every image (B, 3, H, W); all of them whole if `side` is None."""
    if side is None or side >= min(images.shape[-2:]):
        return images
    top, left = (int(torch.randint(0, extent - side + 1, (), generator=generator)) for extent in images.shape[-2:])
    return images[..., top : top + side, left : left + side].contiguous()


def _quiet_posterior(vae: AutoencoderKL, log_variance: float = -8.0) -> None:
    """Starts the posterior almost without noise: from unit variance, a short training spends itself on drowning it."""
    with torch.no_grad():
        _, bias = vae.quant_conv.bias.chunk(2)  # pyright: ignore[reportOptionalMemberAccess]
        bias.fill_(log_variance)


def gradient_error(error: Tensor) -> Tensor:
    """Mean absolute difference between neighbouring errors (B, C, H, W), over scales 1, 2 and 4."""
    total = error.new_zeros(())
    for scale in (1, 2, 4):
        e = F.avg_pool2d(error, scale) if scale > 1 else error
        total = total + (e[..., 1:, :] - e[..., :-1, :]).abs().mean() + (e[..., 1:] - e[..., :-1]).abs().mean()
    return total / 3


def psnr(error: Tensor) -> float:
    """In dB, of errors on the [0, 1] scale; the mean over images (B, …) of each one's PSNR."""
    return float((-10 * torch.log10(error.square().flatten(1).mean(dim=1).clamp_min(1e-12))).mean())


@torch.no_grad()
def latent_scale(vae: AutoencoderKL, samples: PuppetSamples, count: int, device: torch.device) -> float:
    """1 / standard deviation of the posterior means over `count` samples: SD's `scaling_factor`."""
    means = []
    for first in range(0, count, 16):
        images = load_batch(samples, range(first, min(first + 16, count))).images.to(device)
        means.append(vae.encode(2 * images - 1).latent_dist.mean)  # pyright: ignore[reportAttributeAccessIssue]
    return 1 / float(torch.cat(means).std())


def load_vae(folder: str, key: str) -> AutoencoderKL:
    """A trained autoencoder in float32. Raises UserError, naming the settings' key, where the folder holds none."""
    place = resolve(folder, key)
    if not (place / "config.json").is_file():
        raise UserError(
            f"{key}: there is no trained autoencoder in {folder}: run `python -m qnerf.pretrain stage=vae` first, "
            "or give the folder of one."
        )
    return AutoencoderKL.from_pretrained(str(place), torch_dtype=torch.float32, low_cpu_mem_usage=False)


def load_decoder(folder: str, key: str) -> LatentDecoder:
    """A decoder that stage=decoder trained, in float32. Raises UserError, naming the settings' key, where the folder holds none."""
    place = resolve(folder, key)
    if not (place / "config.json").is_file():
        raise UserError(
            f"{key}: there is no trained decoder in {folder}: run `python -m qnerf.pretrain stage=decoder` first, "
            "or give the folder of one."
        )
    return LatentDecoder.from_pretrained(str(place), torch_dtype=torch.float32, low_cpu_mem_usage=False)


def train_vae(settings: VaeStage, widths: PuppetWidths | None = None, scale_samples: int = 256) -> Path:
    """Trains, measures the latents' scale and leaves the averaged model in <output>/model."""
    trainee = VaeTrainee(settings, widths or PuppetWidths())
    average: Average = train(trainee, settings)
    folder = Path(settings.output) / "model"
    with average.applied():
        if not settings.decoder_only:
            scale = latent_scale(trainee.vae, trainee.heldout, scale_samples, trainee.device)
            trainee.vae.register_to_config(scaling_factor=scale)
        trainee.vae.save_pretrained(folder)
    print(f"scaling_factor {trainee.vae.config['scaling_factor']:.5f}, saved to {folder}", flush=True)
    return folder
