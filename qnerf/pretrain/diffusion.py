"""stage=diffusion: U-Net, ControlNet and text encoder together, by noise prediction."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from qnerf.backbones.diffusion import BackboneParts, DiffusionBackbone
from qnerf.backbones.puppet import PuppetWidths, build_puppet
from qnerf.devices import pick_device
from qnerf.pretrain.data import Batch, PuppetSamples, load_batch
from qnerf.pretrain.initialise import load_initial, start_from_copy
from qnerf.pretrain.loop import train
from qnerf.pretrain.settings import DiffusionStage
from qnerf.pretrain.sheets import write_sheet
from qnerf.pretrain.vae import TEST_SEED, load_vae, psnr
from qnerf.scenes.procedural.phrases import WORDS

SHEET_STEPS, SHEET_GUIDANCE = 20, 2.0


class DiffusionTrainee:
    """The three trained parts, the frozen autoencoder, and the noise-prediction loss."""

    def __init__(self, settings: DiffusionStage, widths: PuppetWidths) -> None:
        self.settings = settings
        self.device = pick_device(settings.device, "stage.device")
        self.parts = build_puppet(settings.seed, widths, WORDS[settings.world])
        self.vae = load_vae(settings.vae, "stage.vae").to(self.device).requires_grad_(False).eval()  # pyright: ignore[reportArgumentType]
        unet, controlnet, text_encoder = self.parts.unet, self.parts.controlnet, self.parts.text_encoder
        self.modules = nn.ModuleDict({"unet": unet, "controlnet": controlnet, "text_encoder": text_encoder})
        if settings.initial:
            load_initial(self.modules, Path(settings.initial), self.parts.tokenizer)
        else:
            start_from_copy(unet)
        self.modules.to(self.device).train()
        self.layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        for model in (unet, controlnet):
            model.to(memory_format=self.layout)  # pyright: ignore[reportCallIssue]
            if self.device.type == "cpu":  # materialised scores: 1.4 to 15 times faster there than the fused kernel, backward
                model.set_attn_processor(AttnProcessor())
        self.alphas = self.parts.scheduler.alphas_cumprod.float().to(self.device)
        size = settings.image or widths.image
        what = {"details": settings.shares(), "world": settings.world, "kinds": settings.kinds and {**settings.kinds}}
        self.samples = PuppetSamples(settings.seed, size, **what)
        self.tests = load_batch(PuppetSamples(TEST_SEED, size, **what, heldout=True), range(10))

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """The weighted squared error of the predicted noise. All randomness is drawn on the CPU, for any device."""
        s, count = self.settings, len(batch.captions)
        spread = (torch.arange(count) + torch.rand(count, generator=generator)) / count  # one time in each count-th of the range
        t = (spread * len(self.alphas)).long().clamp(max=len(self.alphas) - 1)
        keep_text = torch.rand(count, generator=generator) >= s.text_dropout
        keep_control = torch.rand(count, generator=generator) >= s.control_dropout
        captions = [caption if keep else "" for caption, keep in zip(batch.captions, keep_text.tolist(), strict=True)]
        with self._autocast():
            z0 = self._encode(batch.images)
            noise = torch.randn(z0.shape, generator=generator).to(self.device)
            alpha = self.alphas[t][:, None, None, None]
            noisy = (alpha.sqrt() * z0 + (1 - alpha).sqrt() * noise).contiguous(memory_format=self.layout)
            predicted = self._predict(noisy, t.to(self.device), captions, batch.controls, keep_control)
        error = (predicted.float() - noise).square().mean(dim=(1, 2, 3))
        loss = (snr_weight(self.alphas[t], s.snr_floor, s.snr_cap) * error).mean()
        return loss, {"error": float(error.detach().mean())}

    def sheet(self, path: Path) -> dict[str, float]:
        """Rows: control, truth, sample (DDIM from the averaged weights)."""
        sampler = self.backbone()
        control = self.tests.controls.to(self.device)
        drawn = sample(sampler, self.tests.captions, control, SHEET_STEPS, SHEET_GUIDANCE)
        self.modules.requires_grad_(True)
        truth = self.tests.images.to(self.device)
        write_sheet(path, [list(control), list(truth), list(drawn)])
        return {"sample_psnr": psnr(drawn - truth)}

    def backbone(self) -> DiffusionBackbone:
        """The present weights behind the common interface; freezes them."""
        p = self.parts
        parts = BackboneParts(p.unet, p.controlnet, self.vae, p.text_encoder, p.tokenizer, p.scheduler)
        size = self.samples.size
        return DiffusionBackbone(parts, (size, size), "training", self.device, self.settings.channels_last)

    def _predict(self, noisy: Tensor, t: Tensor, captions: list[str], controls: Tensor, keep_control: Tensor) -> Tensor:
        p = self.parts
        tokens = p.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        states = p.text_encoder(tokens.to(self.device)).last_hidden_state
        rows = keep_control.nonzero()[:, 0].to(self.device)
        down, mid = None, None
        if len(rows):
            control = controls[keep_control].to(self.device).contiguous(memory_format=self.layout)
            down, mid = p.controlnet(noisy[rows], t[rows], states[rows], control, return_dict=False)
            down, mid = [_spread(r, rows, len(noisy)) for r in down], _spread(mid, rows, len(noisy))
        return p.unet(
            noisy,
            t,
            states,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
            return_dict=False,
        )[0]

    @torch.no_grad()
    def _encode(self, images: Tensor) -> Tensor:
        """Scaled posterior means; the autoencoder runs in the contiguous layout, which is faster for it on CPU."""
        latents = self.vae.encode(2 * images.to(self.device) - 1).latent_dist.mean  # pyright: ignore[reportAttributeAccessIssue]
        return latents.float() * self.vae.config["scaling_factor"]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16")


def _spread(residual: Tensor, rows: Tensor, count: int) -> Tensor:
    """Residuals of the controlled rows among `count` samples, zero for those whose control was dropped."""
    if len(rows) == count:
        return residual
    return residual.new_zeros((count, *residual.shape[1:])).index_copy(0, rows, residual)


def snr_weight(alpha_bar: Tensor, floor: float, cap: float) -> Tensor:
    """clamp(SNR, floor, cap) / SNR with SNR = ā / (1 − ā), for noise prediction.

    The cap is min-SNR-γ (Hang et al., "Min-SNR weighting", 2023). The floor (ours) keeps the weight of the clean image's error
    from vanishing at high noise, where colours and pose are decided: without it a short training never learns to read text.
    """
    snr = alpha_bar / (1 - alpha_bar)
    return snr.clamp(floor, cap) / snr


@torch.no_grad()
def sample(model: DiffusionBackbone, captions: list[str], control: Tensor, steps: int, guidance: float) -> Tensor:
    """Images (B, 3, H, W) by DDIM (METHOD §1) with classifier-free guidance of the text; noise from a fixed seed."""
    count = len(captions)
    noise = torch.randn((count, 4, *model.latent_size), generator=torch.Generator().manual_seed(0))
    z = noise.to(model.device)
    text = torch.cat([model.embed([""] * count), model.embed(captions)])
    times = model.timesteps(steps)
    for t, after in zip(times, [*times[1:], -1], strict=True):
        null, full = model.predict(torch.cat([z, z]), t, text, torch.cat([control, control])).chunk(2)
        eps = null + guidance * (full - null)
        now, later = model.alpha_bar(t), model.alpha_bar(after)
        z0 = (z - (1 - now) ** 0.5 * eps) / now**0.5
        z = later**0.5 * z0 + (1 - later) ** 0.5 * eps
    return model.decode(z)


def train_diffusion(settings: DiffusionStage, widths: PuppetWidths | None = None) -> None:
    """Trains to the end of the budget; `stage=export` turns the checkpoint into a model folder at any time."""
    train(DiffusionTrainee(settings, widths or PuppetWidths()), settings)
