"""Five guided steps with control, by this project's arithmetic and by diffusers' own pipeline, on models of every form and kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.backbones.conditioning import Conditioning, Control
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.sd15 import Sd15Settings
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
def sd21(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sd.build_folder(tmp_path_factory.mktemp("sd") / "sd21", sd.SD21)


def load(folder: Path, controlnet: Path | None = None, **settings: Any) -> DiffusionBackbone:
    net = controlnet or sd.controlnet_of(folder)
    return Sd15Settings(model=str(folder), controlnet=str(net), image_size=64, acceleration="none", **settings).build()


def our_latents(backbone: DiffusionBackbone, z: Tensor, controls: list[Control], prompt: str = PROMPT) -> list[Tensor]:
    steps, seen = backbone.process.steps(5), []
    null, text = (Conditioning(backbone.embed([words]), tuple(controls)) for words in ("", prompt))
    for k, t in enumerate(steps.timesteps):
        noise = guided_noise(backbone.predict(z, t, null), backbone.predict(z, t, text), 7.5)
        z = ddim_step(z, noise, steps, k, k + 1)
        seen.append(z)
    return seen


def check(ours: list[Tensor], theirs: list[Tensor], within: float = 1e-4) -> None:
    """The latents of all states, relative to their size."""
    errors = [float((a - b).norm() / b.norm()) for a, b in zip(ours, theirs, strict=True)]
    assert max(errors) <= within, errors


def theirs(folder: Path, z: Tensor = Z, drawing: Tensor = DRAWINGS[0], **how: Any) -> list[Tensor]:
    return sd.their_latents(folder, [sd.controlnet_of(folder)], PROMPT, z, [drawing], [0.8], torch.float32, **how)


@pytest.mark.parametrize(
    "schedule",
    [
        {},
        {"prediction_type": "v_prediction"},
        {"prediction_type": "sample"},
        {"beta_schedule": "linear"},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
        {"timestep_spacing": "trailing"},
        {"steps_offset": 0, "set_alpha_to_one": True},
    ],
    ids=lambda changes: ",".join(map(str, changes.values())) or "epsilon",
)
def test_every_schedule_is_obeyed(sd15: Path, schedule: dict[str, Any]) -> None:
    sd.set_scheduler(sd15, **schedule)
    try:
        check(our_latents(load(sd15), Z, [Control(DRAWINGS[0], 0.8)]), theirs(sd15))
    finally:
        sd.set_scheduler(sd15)
