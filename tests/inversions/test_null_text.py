"""Null-text inversion on a toy predictor whose optimum is known."""

import pytest
import torch
from torch import Tensor

from qnerf.denoising.combination import guided_noise
from qnerf.denoising.ddim import ddim_step, denoise, invert
from qnerf.inversions.null_text import NullTextInversionSettings, optimise_null_text
from tests.denoising.test_ddim import steps_of

STEPS = steps_of(8)


def noise_of(z: Tensor, k: int, text: Tensor) -> Tensor:
    """Noise that depends on the latents, and linearly on the text's mean over tokens: one channel for each of four pixels."""
    return 0.3 * torch.tanh(z) + text.mean(dim=1).view(-1, 1, 2, 2)


def setting(**changes: object) -> NullTextInversionSettings:
    values = {"name": "null_text", "inner_steps": 400, "learning_rate": 0.02, "early_stop": 1e-10}
    return NullTextInversionSettings.model_validate(values | {"early_stop_growth": 0.0} | changes)


def example(views: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    clean = torch.randn(views, 1, 2, 2, generator=generator)
    text = torch.randn(views, 3, 4, generator=generator)
    return invert(lambda z, k: noise_of(z, k, text), clean, STEPS), text, torch.zeros(views, 3, 4)


def reconstruct(start: Tensor, text: Tensor, null: Tensor) -> Tensor:
    predict = lambda z, k: guided_noise(noise_of(z, k, null[k]), noise_of(z, k, text), 7.5)  # noqa: E731
    return denoise(predict, start, STEPS)


def test_it_reconstructs_where_plain_guidance_does_not() -> None:
    pivot, text, empty = example()
    null = optimise_null_text(noise_of, pivot, text, empty, STEPS, setting())
    assert null.shape == (8, 2, 3, 4)
    plain = (reconstruct(pivot[0], text, empty.expand(8, -1, -1, -1)) - pivot[-1]).abs().max()
    optimised = (reconstruct(pivot[0], text, null) - pivot[-1]).abs().max()
    assert optimised < 0.02
    assert plain > 20 * optimised


def test_each_view_is_optimised_as_if_alone() -> None:
    pivot, text, empty = example(views=3)
    together = optimise_null_text(noise_of, pivot, text, empty, STEPS, setting(inner_steps=7))
    alone = optimise_null_text(noise_of, pivot[:, 1:2], text[1:2], empty[1:2], STEPS, setting(inner_steps=7))
    torch.testing.assert_close(together[:, 1:2], alone, rtol=0, atol=1e-6)


def test_a_scaled_gradient_changes_no_digit() -> None:
    """In float32, where nothing underflows: a power of two."""
    pivot, text, empty = example()
    plain, scaled = (optimise_null_text(noise_of, pivot, text, empty, STEPS, setting(inner_steps=5), by) for by in (1.0, 2.0**14))
    assert torch.equal(plain, scaled)


def test_joint_mode_shares_one_prompt() -> None:
    pivot, text, empty = example()
    null = optimise_null_text(noise_of, pivot, text, empty, STEPS, setting(joint=True, inner_steps=5))
    assert torch.equal(null[:, 0], null[:, 1])


def test_a_fulfilled_target_stops_at_once() -> None:
    pivot, text, empty = example(views=1)
    null = optimise_null_text(noise_of, pivot, text, empty, STEPS, setting(early_stop=1e9))
    assert torch.equal(null, empty.expand(8, -1, -1, -1))


def test_guided_noise_by_hand() -> None:
    assert guided_noise(torch.tensor(1.0), torch.tensor(3.0), 7.5).item() == 16.0
    z = ddim_step(torch.tensor(1.0), torch.tensor(0.0), STEPS, 2, 2)
    assert z.item() == pytest.approx(1.0)


@pytest.mark.parametrize("steps", [8, 50])
def test_the_rate_falls_by_a_hundredth_a_step_as_published(steps: int) -> None:
    settings = setting(learning_rate=0.01)
    assert [settings.rate(k, steps) for k in range(steps)] == pytest.approx([0.01 * (1 - k / 100) for k in range(steps)])


@pytest.mark.parametrize("steps", [51, 100, 200, 1000])
def test_the_rate_of_a_long_schedule_is_never_0(steps: int) -> None:
    rates = [setting(learning_rate=0.01).rate(k, steps) for k in range(steps)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(0.01)
    assert rates[-1] == pytest.approx(0.005, rel=0.05), "half of it is left, as after 50 steps"


def test_against_a_literal_transcription() -> None:
    """One view at a time, in the authors' order of things (`NullInversion.null_optimization`), but for the early stop, which is
    asked before the step (docs/method.md §3); early stops of both kinds occur."""
    pivot, text, empty = example()
    steps, inner, rate, epsilon, growth = len(STEPS), 20, 0.1, 0.02, 0.02
    expected, stops = [], []
    for view in range(2):
        uncond, cond = empty[view : view + 1], text[view : view + 1]
        latent_cur, found = pivot[0, view : view + 1], []
        for i in range(steps):
            uncond = uncond.clone().detach().requires_grad_(True)
            optimizer = torch.optim.Adam([uncond], lr=rate * (1 - i / 100))
            latent_prev = pivot[i + 1, view : view + 1]
            noise_cond = noise_of(latent_cur, i, cond)
            for j in range(inner):
                noise_uncond = noise_of(latent_cur, i, uncond)
                noise_pred = noise_uncond + 7.5 * (noise_cond - noise_uncond)
                clean = (latent_cur - STEPS.sigma[i] * noise_pred) / STEPS.signal[i]
                latents_prev_rec = STEPS.signal[i + 1] * clean + STEPS.sigma[i + 1] * noise_pred
                loss = torch.nn.functional.mse_loss(latents_prev_rec, latent_prev)
                if loss.item() < epsilon + i * growth:
                    stops.append(j)
                    break
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            uncond = uncond.detach()
            found.append(uncond)
            noise_uncond = noise_of(latent_cur, i, uncond)
            noise_pred = noise_uncond + 7.5 * (noise_cond - noise_uncond)
            clean = (latent_cur - STEPS.sigma[i] * noise_pred) / STEPS.signal[i]
            latent_cur = STEPS.signal[i + 1] * clean + STEPS.sigma[i + 1] * noise_pred
        expected.append(torch.stack(found))
    settings = setting(inner_steps=inner, learning_rate=rate, early_stop=epsilon, early_stop_growth=growth)
    found = optimise_null_text(noise_of, pivot, text, empty, STEPS, settings)
    torch.testing.assert_close(found, torch.cat(expected, dim=1), rtol=0, atol=1e-6)
    assert 0 < len(stops) < 2 * steps, "some steps stop early and some do not"
