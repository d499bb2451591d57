"""Presets for little memory: what they lower, which of them is taken, and that results stay."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from qnerf.backbones.architecture import tiny_backbone
from qnerf.config import RunSettings
from qnerf.runs.identity import Inputs
from qnerf.runs.memory import PRESETS, limits_of, within_memory
from qnerf.runs.stages import Stages

SD = ("backbone=sd15", "control.detail=auto", "scene.size=512", "guidance=soft", "schedule=progressive", "chunk_size=3")


def test_a_preset_lowers_every_method_and_leaves_what_is_less() -> None:
    settings = RunSettings.compose(*SD, "memory=16gb", "baselines=[hard]", "field=sd15")
    found = within_memory(settings)
    assert (found.chunk_size, found.field.device_gib) == (2, 2)
    assert found.editor.cache_gib == 0.25
    assert [(method.editor or found.editor).cache_gib for method in found.methods().values()] == [0.25, 0.25]
    assert not found.guidance.model_dump()["checkpointing"]
    least = within_memory(settings.model_copy(update={"memory": "8gb"}))
    assert (least.chunk_size, least.editor.cache_gib, least.guidance.model_dump()["checkpointing"]) == (1, 0, True)
    assert within_memory(settings.model_copy(update={"memory": "24gb"})).chunk_size == 3, "less than it may have"


@pytest.mark.parametrize(
    ("gib", "preset"), [(7.6, "8gb"), (11.9, "12gb"), (15.7, "16gb"), (23.6, "24gb"), (79.0, None), (None, None)]
)
def test_auto_looks_at_the_gpu(gib: float | None, preset: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qnerf.devices.memory_gib", lambda wanted: gib)
    limits = PRESETS[preset] if preset else None
    assert limits_of(RunSettings.compose(*SD)) == limits
    assert limits_of(RunSettings.compose(*SD, "device=cpu")) is None
    assert limits_of(RunSettings.compose()) is None, "the embedded model is small"


def test_only_tiles_are_part_of_a_runs_identity() -> None:
    def name(*overrides: str) -> str:
        return Stages(RunSettings.compose(*SD, "device=cpu", *overrides), Inputs("scene", "weights")).identity()

    assert name() == name("memory=8gb") == name("memory=12gb", "backbone.dtype=float32")
    larger = ("scene.size=[576,512]", "backbone.image_size=[576,512]")
    assert name(*larger) == name(*larger, "memory=12gb")
    assert name(*larger) != name(*larger, "memory=8gb")


def test_a_spared_model_makes_the_same_pictures_and_waits_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, spared = tiny_backbone(), tiny_backbone()
    spared.spare(sliced=True, tiled=False, offloaded=True)
    moved: list[Any] = []
    for part in (spared.vae, spared.text_encoder):
        monkeypatch.setattr(part, "to", lambda device: moved.append(str(device)))
    spared.device = torch.device("cpu", 0)  # as if it were another
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    latents = plain.encode(images)
    torch.testing.assert_close(spared.encode(images), latents)
    torch.testing.assert_close(spared.decode(latents), plain.decode(latents))
    torch.testing.assert_close(spared.embed(["a fox"]), plain.embed(["a fox"]))
    assert moved == 3 * ["cpu:0", "cpu"]


def test_tiles_are_the_whole_where_one_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, tiled = tiny_backbone(), tiny_backbone()
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    tiled.spare(sliced=False, tiled=True, offloaded=False)
    torch.testing.assert_close(tiled.decode(latents), plain.decode(latents), rtol=0, atol=0)
    monkeypatch.setattr("qnerf.backbones.diffusion.TILE", 16)
    tiled.spare(sliced=False, tiled=True, offloaded=False)
    difference = (tiled.decode(latents) - plain.decode(latents)).abs()
    assert tiled.decode(latents).shape == plain.decode(latents).shape
    assert difference.max() > 0
