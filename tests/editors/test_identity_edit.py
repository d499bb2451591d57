"""An edit that asks for what is there already, on the embedded model and the demo scene, leaves the views alone.

python -m pytest -m slow -s tests/editors/test_identity_edit.py
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from qnerf.attention.edits import InjectKeysValues
from qnerf.attention.hooks import CONDITIONAL, Edits
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.config import parse
from qnerf.consolidation.job import EditJob
from qnerf.denoising.edit import EditStep
from qnerf.denoising.source import SourceBranch
from qnerf.denoising.views import invert_views
from qnerf.editors.masactrl import MasaCtrl, MasaCtrlSettings
from qnerf.fields.space import Space
from qnerf.guidance.off import OffSettings
from qnerf.inversions.ddim import DdimInversionSettings
from qnerf.inversions.inversion import InversionSettings
from qnerf.inversions.null_text import NullTextInversionSettings
from qnerf.metrics.fidelity import psnr
from qnerf.run import CONFIGS
from qnerf.scenes.controls import draw_proxy_control
from qnerf.scenes.reader import read_scene
from qnerf.scenes.region import edited_region
from qnerf.schedules.independent import IndependentSettings
from tests.schedules.helpers import edit

VIEWS, STEPS = 4, 8
NULL_TEXT = NullTextInversionSettings(name="null_text")
DDIM = DdimInversionSettings(name="ddim")


@cache
def backbone() -> DiffusionBackbone:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return parse(compose("config")).backbone.build("cpu")


@cache
def job(inversion: InversionSettings) -> EditJob:
    """Views of the demo scene, whose target is their source, inverted."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        settings = parse(compose("config", [f"scene.views={VIEWS}"]))
    scene, model = read_scene(settings.scene), backbone()
    assert scene.proxy is not None
    control = draw_proxy_control(scene.proxy, "source", scene.cameras, settings.control.detail, model.image_size)
    text, null = (model.embed([prompt] * VIEWS) for prompt in (scene.source_prompt, ""))
    steps, conditioning = model.process.steps(STEPS), Conditioning.of(text, control)

    def source(views: slice) -> SourceBranch:
        return SourceBranch(model, steps, inversion.build(), conditioning.views(views), null[views])

    return EditJob(
        backbone=model, steps=steps, source=source, target=conditioning,
        trajectory=invert_views(source, model.encode(scene.images), VIEWS, lambda done: None),
        region=edited_region(scene.proxy, scene.cameras, model.latent_size, 0.1),
        editor=MasaCtrlSettings(name="masactrl").build(), guidance_scale=inversion.required_scale or 1.0,
        cameras=scene.cameras, space=Space(scene.focus, scene.radius), field=settings.field, rgb_field=settings.rgb_field,
        seed=0, chunk_size=VIEWS,
    )  # fmt: skip


class BothHalvesReadTheConditional(MasaCtrl):
    """As MasaCtrl was here before: the null half reads the source's conditional keys and values too."""

    def edits(self, step: EditStep) -> Edits:
        if step.k < self.settings.first_step(len(step.steps)):
            return Edits()
        layers = step.layers[self.settings.start_layer :]
        return Edits.at(layers, InjectKeysValues(*step.source.keys_values(step.k, layers, [CONDITIONAL]), union=False))


def edited(inversion: InversionSettings, kind: type[MasaCtrl], keep_background: bool, start: float = 0.08) -> tuple[Tensor, float]:
    """Latents, and the PSNR, dB, of their views against the autoencoder's own round trip."""
    editor = kind(MasaCtrlSettings(name="masactrl", keep_background=keep_background, start=start))
    found = replace(job(inversion), editor=editor)  # pyright: ignore[reportArgumentType]
    latents = edit(IndependentSettings(name="independent"), OffSettings(name="off"), found).latents
    return latents, psnr(found.backbone.decode(latents), found.backbone.decode(found.trajectory.states[-1]))


@pytest.mark.slow
def test_null_text_and_masactrl_change_little_and_each_half_reads_its_own() -> None:
    """As shipped 26.2 dB (25.3 where both halves read the conditional one); without the kept background 24.3 (22.4), where the
    inversion reconstructs at 22.2."""
    figures = {
        (kind.__name__, keeps, start): edited(NULL_TEXT, kind, keeps, start)[1]
        for kind in (MasaCtrl, BothHalvesReadTheConditional)
        for keeps in (True, False)
        for start in (0.08, 1.0)
    }
    for key, value in figures.items():
        print(*key, f"{value:.2f} dB")
    assert figures["MasaCtrl", True, 0.08] > 25
    for keeps, gain in ((True, 0.6), (False, 1.5)):
        mine = figures["MasaCtrl", keeps, 0.08]
        assert mine > figures["BothHalvesReadTheConditional", keeps, 0.08] + gain
        assert mine > figures["MasaCtrl", keeps, 1.0] + gain, "the inversion's own reconstruction"


@pytest.mark.slow
def test_without_a_null_half_nothing_is_read_otherwise() -> None:
    mine, before = (edited(DDIM, kind, keep_background=False) for kind in (MasaCtrl, BothHalvesReadTheConditional))
    print(f"ddim {mine[1]:.2f} dB")
    assert torch.equal(mine[0], before[0])
    assert mine[1] > 30
