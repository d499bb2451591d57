"""DDIM against equations worked by hand, and against a data distribution whose noise predictor is known exactly."""

import pytest
import torch

from qnerf.backbones.process import Steps
from qnerf.denoising.ddim import ddim_step, denoise, invert


def steps_of(count: int) -> Steps:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, 0)
    times = [k * (1000 // count) + 1 for k in reversed(range(count))]
    states = (*(alphas[t].item() for t in times), alphas[0].item())
    return Steps(tuple(times), tuple(a**0.5 for a in states), tuple((1 - a) ** 0.5 for a in states))


def test_step_by_hand() -> None:
    # ᾱ .25 -> .64, z = 1, ε = .5: ẑ0 = (1 - √.75 · .5) / .5 = 1.1339746, z' = .8 ẑ0 + .6 · .5 = 1.2071797
    steps = Steps((1,), (0.5, 0.8), (0.75**0.5, 0.6))
    z = ddim_step(torch.ones(1, dtype=torch.float64), torch.full((1,), 0.5, dtype=torch.float64), steps, 0, 1)
    assert z.item() == pytest.approx(1.2071796769724491, abs=1e-12)


def test_a_step_and_its_reverse_cancel_for_equal_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    z, noise = torch.randn(2, 2, 4, 3, 3, generator=generator, dtype=torch.float64)
    steps = Steps((1,), (0.2**0.5, 0.9**0.5), (0.8**0.5, 0.1**0.5))
    back = ddim_step(ddim_step(z, noise, steps, 1, 0), noise, steps, 0, 1)
    torch.testing.assert_close(back, z, rtol=0, atol=1e-12)


def gaussian_predictor(steps: Steps, variance: float):
    """For data N(0, v) the best noise predictor is ε(z, t) = √(1-ᾱ) z / (ᾱ v + 1 - ᾱ)."""
    return lambda z, k: steps.sigma[k] * z / (steps.signal[k] ** 2 * variance + steps.sigma[k] ** 2)


def test_inversion_of_gaussian_data_gives_unit_noise_and_comes_back() -> None:
    steps = steps_of(200)
    clean = 0.3 * torch.randn(4000, 1, 1, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    states = invert(gaussian_predictor(steps, 0.09), clean, steps)
    assert states.shape == (201, 4000, 1, 1, 1)
    assert torch.equal(states[-1], clean)
    assert states[0].std().item() == pytest.approx(1.0, abs=0.1)
    restored = denoise(gaussian_predictor(steps, 0.09), states[0], steps)
    assert (restored - clean).abs().max() < 0.05 * clean.abs().max()


def test_more_steps_reconstruct_better() -> None:
    clean = torch.linspace(-1, 1, 9, dtype=torch.float64).view(9, 1, 1, 1)
    errors = []
    for count in (10, 50, 250):
        steps = steps_of(count)
        predictor = gaussian_predictor(steps, 0.2)
        errors.append((denoise(predictor, invert(predictor, clean, steps)[0], steps) - clean).abs().max().item())
    assert errors[0] > errors[1] > errors[2]


def test_fixed_point_iterations_invert_denoising_itself() -> None:
    """The state that is asked again is the one that denoising comes from, so few steps come back as well as many."""
    clean, steps = torch.linspace(-1, 1, 9, dtype=torch.float64).view(9, 1, 1, 1), steps_of(10)
    predictor = gaussian_predictor(steps, 0.2)
    errors = [
        (denoise(predictor, invert(predictor, clean, steps, fixed_point=n)[0], steps) - clean).abs().max() for n in (0, 3, 40)
    ]
    assert errors[0] > 10 * errors[1]
    assert errors[2] < 1e-6


def test_denoise_in_two_parts_is_denoise_in_one() -> None:
    steps = steps_of(12)
    predictor, z = gaussian_predictor(steps, 0.5), torch.ones(1, 1, 1, 1, dtype=torch.float64)
    middle = denoise(predictor, z, steps, 0, 5)
    assert torch.equal(denoise(predictor, middle, steps, 5), denoise(predictor, z, steps))


def test_each_step_of_both_ways_asks_at_the_noisier_states_time() -> None:
    """Of states 0 to 4, the noisiest first: the inversion's step to state k asks at time k, as null-text's authors do."""
    steps, asked = steps_of(4), []

    def predictor(z: torch.Tensor, k: int) -> torch.Tensor:
        asked.append(k)
        return 0 * z

    states = invert(predictor, torch.ones(1, 1, 1, 1), steps)
    assert asked == [3, 2, 1, 0]
    torch.testing.assert_close(states[:, 0, 0, 0, 0], torch.tensor(steps.signal) / steps.signal[-1])
    denoise(predictor, states[0], steps)
    assert asked[4:] == [0, 1, 2, 3]
