"""An edit that asks for what is there already, on the embedded model and the demo scene, leaves the views alone.

python -m pytest -m slow -s tests/editors/test_identity_edit.py
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from torch import Tensor

from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.config import parse
from qnerf.consolidation.job import EditJob
from qnerf.denoising.source import SourceBranch
from qnerf.denoising.views import invert_views
from qnerf.editors.masactrl import MasaCtrlSettings
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

VIEWS, STEPS = 3, 8
NULL_TEXT = NullTextInversionSettings(name="null_text", steps=STEPS)
DDIM = DdimInversionSettings(name="ddim", steps=STEPS)


@cache
def backbone() -> DiffusionBackbone:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return parse(compose("config")).backbone.build("cpu")


@cache
def job(inversion: InversionSettings) -> EditJob:
    """Views of the demo scene, whose target is their source, inverted."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        settings = parse(compose("config", [f"scene.views={VIEWS}", "control.detail=bones"]))
    scene, model = read_scene(settings.scene), backbone()
    assert scene.proxy is not None
    control = draw_proxy_control(scene.proxy, "source", scene.cameras, "bones", model.image_size)
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


def quality(inversion: InversionSettings, **editor: Any) -> float:
    """PSNR, dB, of the edited views against the autoencoder's own round trip."""
    from dataclasses import replace

    found = replace(job(inversion), editor=MasaCtrlSettings(name="masactrl", **editor).build())
    latents: Tensor = edit(IndependentSettings(name="independent"), OffSettings(name="off"), found).latents
    return psnr(found.backbone.decode(latents), found.backbone.decode(found.trajectory.states[-1]))


@pytest.mark.slow
def test_identity() -> None:
    for inversion in (NULL_TEXT, DDIM):
        for keeps in (True, False):
            for start in (0.08, 1.0):
                print(
                    inversion.name, f"keep_background={keeps} start={start}", quality(inversion, keep_background=keeps, start=start)
                )
        j = job(inversion)
        source = j.source(slice(0, VIEWS))
        rec = source.reconstruct(j.trajectory)
        print("reconstruction", psnr(j.backbone.decode(rec), j.backbone.decode(j.trajectory.states[-1])))
