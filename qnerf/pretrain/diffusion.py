"""stage=diffusion, unet, control: the U-Net with its text encoder, and the ControlNets, together or apart, by noise prediction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from diffusers import ControlNetModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from qnerf.backbones.architecture import PuppetWidths, build_puppet
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import LOOSE_DETAILS, DiffusionBackbone
from qnerf.backbones.puppet import PUPPET_FOLDER
from qnerf.common.places import resolve
from qnerf.devices import pick_device
from qnerf.pretrain.balance import balance_weights
from qnerf.pretrain.data import Batch, PuppetSamples, load_batch
from qnerf.pretrain.grounding import NO_PART, GroundedAttention, as_tokens
from qnerf.pretrain.initialise import load_initial, start_from_copy
from qnerf.pretrain.loop import train
from qnerf.pretrain.settings import DiffusionStage
from qnerf.pretrain.sheets import write_sheet
from qnerf.pretrain.vae import TEST_SEED, load_vae, psnr
from qnerf.scenes.procedural.phrases import WORDS
from qnerf.scenes.settings import Detail

AUTOENCODER = "autoencoder.txt"  # in the output folder: the folder of the autoencoder, for stage=export
SHEET_STEPS, SHEET_GUIDANCE = 20, 2.0
TRAINED = {
    "diffusion": ("unet", "controlnet", "loose_controlnet", "text_encoder"),
    "unet": ("unet", "text_encoder"),
    "control": ("controlnet", "loose_controlnet"),
}
CONTROL_DROPOUT = {"unet": 1.0, "control": 0.0}  # a sample without control teaches no ControlNet, one with it no U-Net alone


class DiffusionTrainee:
    """The trained parts, the frozen ones, and the noise-prediction loss. `modules` has all that a checkpoint needs."""

    def __init__(self, settings: DiffusionStage, widths: PuppetWidths) -> None:
        self.settings = settings
        self.device = pick_device(settings.device, "stage.device")
        self.parts = build_puppet(settings.seed, widths, WORDS[settings.world])
        self.vae = load_vae(autoencoder_of(settings), "stage.vae").to(self.device).requires_grad_(False).eval()  # pyright: ignore[reportArgumentType]
        unet = self.parts.unet
        self.modules = nn.ModuleDict({name: getattr(self.parts, name) for name in TRAINED["diffusion"]})
        if settings.initial:
            load_initial(self.modules, resolve(settings.initial, "stage.initial"), self.parts.tokenizer)
        else:
            start_from_copy(unet)
        for name, module in self.modules.items():
            module.requires_grad_(name in TRAINED[settings.name])
        self.modules.to(self.device).train()
        self.layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        self.control_dropout = CONTROL_DROPOUT.get(settings.name, settings.control_dropout)
        for model in (unet, *self._controlnets()):
            model.to(memory_format=self.layout)  # pyright: ignore[reportCallIssue]
            if self.device.type == "cpu":  # materialised scores: 1.4 to 15 times faster there than the fused kernel, backward
                model.set_attn_processor(AttnProcessor())
        self.grounded = GroundedAttention(unet) if settings.grounding else None
        self.alphas = self.parts.scheduler.alphas_cumprod.float().to(self.device)
        size = settings.image or widths.image
        what = {"details": settings.shares(), "world": settings.world, "kinds": settings.kinds and {**settings.kinds}}
        self.samples = PuppetSamples(settings.seed, size, **what)
        self.tests = load_batch(PuppetSamples(TEST_SEED, size, **what, heldout=True), range(10))

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """The weighted squared error of the predicted noise. All randomness is drawn on the CPU, for any device."""
        s, p, count = self.settings, self.parts, len(batch.captions)
        spread = (torch.arange(count) + torch.rand(count, generator=generator)) / count  # one time in each count-th of the range
        t = (spread * len(self.alphas)).long().clamp(max=len(self.alphas) - 1)
        keep_text = torch.rand(count, generator=generator) >= s.text_dropout
        keep_control = torch.rand(count, generator=generator) >= self.control_dropout
        captions = [caption if keep else "" for caption, keep in zip(batch.captions, keep_text.tolist(), strict=True)]
        with self._autocast():
            z0 = self._encode(batch.images)
            noise = torch.randn(z0.shape, generator=generator).to(self.device)
            alpha = self.alphas[t][:, None, None, None]
            noisy = (alpha.sqrt() * z0 + (1 - alpha).sqrt() * noise).contiguous(memory_format=self.layout)
            predicted = self._predict(noisy, t.to(self.device), captions, batch, keep_control)
        weights = F.adaptive_avg_pool2d(balance_weights(batch.parts, s.balance), (z0.shape[2], z0.shape[3])).to(self.device)
        squared = (predicted.float() - noise).square().mean(dim=1)
        error = (weights * squared).mean(dim=(1, 2))
        loss, parts = (snr_weight(self.alphas[t], s.snr_floor, s.snr_cap) * error).mean(), {"error": float(squared.detach().mean())}
        if self.grounded is not None:
            tokens = as_tokens(batch.words, p.text_encoder.config.max_position_embeddings)
            tokens[~keep_text] = NO_PART
            stray = self.grounded.loss(tokens, batch.parts, (z0.shape[2], z0.shape[3]))
            loss, parts["stray"] = loss + s.grounding * stray, float(stray.detach())
        return loss, parts

    def sheet(self, path: Path) -> dict[str, float]:
        """Rows: control, truth, sample (DDIM from the averaged weights; stage=unet's without control)."""
        tests, frozen = self.tests, {name: p.requires_grad for name, p in self.modules.named_parameters()}
        model, drawn = self.backbone(), []
        for caption, control, detail in zip(tests.captions, tests.controls.to(self.device), tests.details, strict=True):
            given = None if self.settings.name == "unet" else control[None]
            drawn.append(sample(model.for_control(cast(Detail, detail)), [caption], given, SHEET_STEPS, SHEET_GUIDANCE)[0])
        for name, parameter in self.modules.named_parameters():
            parameter.requires_grad_(frozen[name])
        truth = tests.images.to(self.device)
        write_sheet(path, [list(tests.controls), list(truth), drawn])
        return {"sample_psnr": psnr(torch.stack(drawn) - truth)}

    def backbone(self) -> DiffusionBackbone:
        """The present weights behind the common interface; freezes them."""
        parts, size = replace(self.parts, vae=self.vae), self.samples.size
        return DiffusionBackbone(parts, (size, size), "training", self.device, self.settings.channels_last)

    def _controlnets(self) -> list[ControlNetModel]:
        """That of drawings of the pose and that of loose bounds."""
        return [net for net in (self.parts.controlnet, self.parts.loose_controlnet) if net is not None]

    def _predict(self, noisy: Tensor, t: Tensor, captions: list[str], batch: Batch, keep_control: Tensor) -> Tensor:
        """Each sample by the ControlNet of its control's grade, or by none."""
        p = self.parts
        tokens = p.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        states = p.text_encoder(tokens.to(self.device)).last_hidden_state
        loose = torch.tensor([detail in LOOSE_DETAILS for detail in batch.details])
        residuals: list[Tensor] = []
        for net, mine in zip(self._controlnets(), (keep_control & ~loose, keep_control & loose), strict=True):
            rows = mine.nonzero()[:, 0].to(self.device)
            if len(rows) == 0:
                continue
            control = batch.controls[mine].to(self.device).contiguous(memory_format=self.layout)
            down, mid = net(noisy[rows], t[rows], states[rows], control, return_dict=False)
            spread = [_spread(residual, rows, len(noisy)) for residual in (*down, mid)]
            residuals = [a + b for a, b in zip(residuals, spread, strict=True)] if residuals else spread
        return p.unet(
            noisy,
            t,
            states,
            down_block_additional_residuals=residuals[:-1] or None,
            mid_block_additional_residual=residuals[-1] if residuals else None,
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
def sample(model: DiffusionBackbone, captions: list[str], control: Tensor | None, steps: int, guidance: float) -> Tensor:
    """Images (B, 3, H, W) by DDIM (docs/method.md §1) with classifier-free guidance of the text; noise from a fixed seed."""
    count = len(captions)
    noise = torch.randn((count, 4, *model.latent_size), generator=torch.Generator().manual_seed(0))
    z = noise.to(model.device)
    text = torch.cat([model.embed([""] * count), model.embed(captions)])
    twice = None if control is None else torch.cat([control, control])
    times = model.process.timesteps(steps)
    for t, after in zip(times, [*times[1:], -1], strict=True):
        null, full = model.predict(torch.cat([z, z]), t, Conditioning.of(text, twice)).chunk(2)
        eps = null + guidance * (full - null)
        now, later = model.process.alpha_bar(t), model.process.alpha_bar(after)
        z0 = (z - (1 - now) ** 0.5 * eps) / now**0.5
        z = later**0.5 * z0 + (1 - later) ** 0.5 * eps
    return model.decode(z)


def autoencoder_of(settings: DiffusionStage) -> str:
    """The folder of the autoencoder whose latents are trained on: the settings' own, else that of the exported model that the
    training starts from, else the shipped one."""
    folders = [resolve(settings.initial, "stage.initial") / "vae"] if settings.initial else []
    found = next((folder for folder in folders if (folder / "config.json").is_file()), PUPPET_FOLDER / "vae")
    return settings.vae or str(found)


def train_diffusion(settings: DiffusionStage, widths: PuppetWidths | None = None) -> None:
    """Trains to the end of the budget; `stage=export` turns the checkpoint into a model folder at any time."""
    trainee = DiffusionTrainee(settings, widths or PuppetWidths())
    Path(settings.output).mkdir(parents=True, exist_ok=True)
    (Path(settings.output) / AUTOENCODER).write_text(str(Path(autoencoder_of(settings)).resolve()) + "\n", encoding="utf-8")
    train(trainee, settings)
