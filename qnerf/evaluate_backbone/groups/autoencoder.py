"""The autoencoder: what is lost before diffusion starts, and the scale of its latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from qnerf.errors import UserError
from qnerf.evaluate_backbone.jobs import Job
from qnerf.evaluate_backbone.settings import EvaluateSettings
from qnerf.evaluate_backbone.subject import Findings, Subject
from qnerf.metrics.fidelity import psnr

SUFFIXES = (".png", ".jpg", ".jpeg")


def jobs(settings: EvaluateSettings) -> list[Job]:
    return []


def measure(subject: Subject) -> Findings:
    """round_trip_psnr: dB, the mean over views; round_trip_psnr_object: inside the object's silhouette. latent_std: of all scaled
    latents, which diffusion takes for 1, and by channel.
    photographs_psnr: the same of photographs, squeezed to the backbone's size."""
    images, backbone = subject.views.images, subject.painter.backbone
    decoded = subject.painter.round_trip(len(images))
    latents = torch.cat([backbone.encode(some).cpu() for some in images.split(subject.settings.chunk_size)])
    figures: dict[str, Any] = {
        "round_trip_psnr": psnr(decoded, images),
        "round_trip_psnr_object": psnr(decoded, images, subject.views.silhouettes),
        **latent_spread(latents),
    }
    sheets = {"round_trip": [list(images[:8]), list(decoded[:8])]}
    if subject.settings.photographs:
        photographs = read_photographs(Path(subject.settings.photographs).expanduser(), backbone.image_size)
        returned = torch.cat([backbone.decode(backbone.encode(some)).cpu() for some in photographs.split(16)])
        figures |= {"photographs": len(photographs), "photographs_psnr": psnr(returned, photographs)}
        sheets["photographs"] = [list(photographs[:8]), list(returned[:8])]
    return Findings(figures, sheets)


def latent_spread(latents: Tensor) -> dict[str, Any]:
    """Standard deviation of latents (N, C, h, w), together and by channel, and how far the first is from 1."""
    std = latents.std().item()
    channels = [round(channel.std().item(), 4) for channel in latents.unbind(dim=1)]
    return {"latent_std": std, "latent_std_by_channel": channels, "latent_std_spread": abs(std - 1)}


def read_photographs(folder: Path, size: tuple[int, int]) -> Tensor:
    """All pictures of a folder and those below it, (N, 3, H, W) in [0, 1]. Raises UserError where there is none."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UserError(f"photographs: {folder} has no PNG or JPEG; give a folder that has some.")
    pictures = [_read(path, size) for path in paths]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def _read(path: Path, size: tuple[int, int]) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB").resize((size[1], size[0]), Image.Resampling.LANCZOS))
    except OSError as error:
        raise UserError(f"{path} cannot be read as a picture: remove it from the folder of photographs.") from error
