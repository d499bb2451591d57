"""Spatial-temporal attention against its definition written out."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from qnerf.editors.additions.spatial_temporal import SpatialTemporalSettings
from qnerf.editors.plain import PlainEditorSettings
from tests.editors.helpers import SOURCE, STEPS, TARGET, VIEWS, clean_of, double, job_of, latents, noise, null_of, resumed, stepped

SCALE = 2.0
PLAIN = PlainEditorSettings(name="plain", keep_background=False, guidance_scale=SCALE)
PLACED = SpatialTemporalSettings(
    name="spatial_temporal",
    objects={"blue shirt": (0.25, 0.6), "figure": None},
    radius=0.3,
    prompt="a {}",
    weight=1.5,
    last_weight=0.5,
)


def editor(settings: SpatialTemporalSettings) -> PlainEditorSettings:
    return PLAIN.model_copy(update={"additions": {"spatial_temporal": settings}})


def test_an_edit_is_what_the_definition_says() -> None:
    """out + (λ_k / 2) Σ m_i (out_i - out), of the prompt's prediction, in all cross-attention layers."""
    region = torch.zeros(VIEWS, 8, 8)
    region[0, :, :4] = region[1, 4:] = 1
    job = job_of(editor(PLACED))
    job = job_of(editor(PLACED), region=type(job.region)(region, region))
    texts = [double().embed([prompt] * VIEWS).double() for prompt in ("a blue shirt", "a figure")]
    cross = {layer.path for layer in double().cross_attention_layers}

    def inside(side: int) -> list[Tensor]:
        """Of each object (V, n), for a map of side x side tokens."""
        round_centre = torch.zeros(VIEWS, side, side)
        for row in range(side):
            for column in range(side):
                round_centre[:, row, column] = float((row / side - 0.6) ** 2 + (column / side - 0.25) ** 2 < 0.3**2)
        covered = region.reshape(VIEWS, side, 8 // side, side, 8 // side).amax(dim=(2, 4))
        return [round_centre.flatten(1).double(), covered.flatten(1).double()]

    z = job.trajectory.states[0]
    for k in range(STEPS):
        weight = (1.5 - k / 3) / 2

        def change(path: str, p: Tensor, q: Tensor, key: Tensor, v: Tensor, weight: float = weight) -> tuple[Tensor, Tensor]:
            if path not in cross:
                return p, v
            module, maps, values = double().unet.get_submodule(path), [p], [v]
            for text, mask in zip(texts, inside(round(q.shape[2] ** 0.5)), strict=True):
                own_key, own_value = (f(text).unflatten(-1, (q.shape[1], -1)).transpose(1, 2) for f in (module.to_k, module.to_v))
                share = weight * mask[:, None, :, None]
                maps.append(share * (q @ own_key.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1))
                maps[0] = maps[0] - share * p
                values.append(own_value)
            return torch.cat(maps, dim=-1), torch.cat(values, dim=-2)

        null = noise(job, z, k, null_of(job))
        eps = null + SCALE * (noise(job, z, k, job.target.text, change=change) - null)
        z = stepped(job, clean_of(job, z, eps, k), eps, k)
    found = latents(job)
    torch.testing.assert_close(found, z, rtol=0, atol=1e-6)
    assert (found - latents(job_of(PLAIN))).abs().max() > 1e-3


def test_the_targets_own_prompt_changes_nothing_and_chunks_and_a_kill_neither() -> None:
    same = PLACED.model_copy(update={"prompt": "{}", "objects": {TARGET: (0.5, 0.5)}})
    torch.testing.assert_close(latents(job_of(editor(same))), latents(job_of(PLAIN)), rtol=0, atol=1e-9)
    whole = latents(job_of(editor(PLACED)))
    torch.testing.assert_close(latents(job_of(editor(PLACED), chunk_size=1)), whole, rtol=0, atol=1e-9)
    torch.testing.assert_close(resumed(editor(PLACED)), whole, rtol=0, atol=1e-12)


def test_what_is_missing_or_wrong_is_told() -> None:
    assert "none given" in (SpatialTemporalSettings(name="spatial_temporal").problem(SOURCE, TARGET) or "")
    assert "'hat' is not in the prompt" in (PLACED.model_copy(update={"objects": {"hat": None}}).problem(SOURCE, TARGET) or "")
    assert PLACED.problem(SOURCE, TARGET) is None
    for wrong in ({"prompt": "a photo"}, {"objects": {"figure": (0.5, 1.5)}}):
        with pytest.raises(ValidationError):
            SpatialTemporalSettings(name="spatial_temporal", **wrong)  # pyright: ignore[reportArgumentType]
