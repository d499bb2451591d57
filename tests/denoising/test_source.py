"""The three inversions on a random backbone: what each must hold whatever the weights."""

from typing import Any

import pytest
import torch

from qnerf.backbones.conditioning import Conditioning
from qnerf.denoising.ddim import Trajectory
from qnerf.denoising.source import SourceBranch
from qnerf.denoising.views import invert_views
from qnerf.inversions.ddim import DdimInversionSettings
from qnerf.inversions.ddpm import DdpmInversionSettings
from qnerf.inversions.inversion import InversionSettings
from qnerf.inversions.null_text import NullTextInversionSettings
from qnerf.inversions.uniform_attention import UniformAttentionInversionSettings
from tests.schedules.helpers import BACKBONE

STEPS = BACKBONE.process.steps(5)
CLEAN = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
CONTROL = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def branch(settings: InversionSettings, prompt: str = "a figure", views: slice = slice(0, 3)) -> SourceBranch:
    text, null = BACKBONE.embed([prompt] * 3), BACKBONE.embed([""] * 3)
    conditioning = Conditioning.of(text[views], CONTROL[views])
    return SourceBranch(BACKBONE, STEPS, settings.build(), conditioning, null[views], first_view=views.start)


def error(settings: Any, scale: float | None = None) -> float:
    source = branch(settings)
    return (source.reconstruct(source.invert(CLEAN), scale) - CLEAN).square().mean().item()


def test_steps_are_diffusers_own() -> None:
    BACKBONE.scheduler.set_timesteps(5)
    assert list(STEPS.timesteps) == BACKBONE.scheduler.timesteps.tolist()
    assert STEPS.signal[-1] ** 2 == pytest.approx(float(BACKBONE.process.alphas_cumprod[0]))


def test_denoising_agrees_with_diffusers_step() -> None:
    source = branch(DdimInversionSettings(name="ddim"))
    start = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(4))
    z = start
    BACKBONE.scheduler.set_timesteps(5)
    with torch.no_grad():
        for k, t in enumerate(STEPS.timesteps):
            z = BACKBONE.scheduler.step(source.noise(z, k), t, z, eta=0.0).prev_sample  # pyright: ignore[reportAttributeAccessIssue]

    torch.testing.assert_close(source.reconstruct(Trajectory(start[None])), z, rtol=1e-4, atol=1e-4)


def test_null_text_reconstructs_better_than_ddim_at_its_scale() -> None:
    null_text = NullTextInversionSettings(name="null_text", inner_steps=10)
    assert error(null_text) < 0.9 * error(DdimInversionSettings(name="ddim"), scale=7.5)


def test_uniform_attention_does_not_depend_on_the_prompt() -> None:
    settings = UniformAttentionInversionSettings(name="uniform_attention")
    states = [branch(settings, prompt).invert(CLEAN).states for prompt in ("a figure", "a red floor", "")]
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])
    plain = [branch(DdimInversionSettings(name="ddim"), p).invert(CLEAN).states for p in ("a figure", "a red floor")]
    assert not torch.equal(plain[0], plain[1])


def test_chunks_change_nothing_and_are_reported() -> None:
    for settings in (
        DdimInversionSettings(name="ddim"),
        DdpmInversionSettings(name="ddpm"),
        NullTextInversionSettings(name="null_text", inner_steps=2),
        NullTextInversionSettings(name="null_text", inner_steps=2, joint=True),
    ):
        done: list[int] = []
        make = lambda views, settings=settings: branch(settings, views=views)  # noqa: E731
        whole, parts = invert_views(make, CLEAN, 3, done.append), invert_views(make, CLEAN, 2, done.append)
        assert whole.tensors().keys() == parts.tensors().keys()
        for name, value in whole.tensors().items():
            torch.testing.assert_close(value, parts.tensors()[name], rtol=0, atol=2e-3 if name == "null_text" else 1e-4)
        assert done[0] == 3
        assert done[-1] == 3
