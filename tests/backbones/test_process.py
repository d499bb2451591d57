"""The noising process against diffusers' scheduler, in each parametrisation."""

import pytest
import torch
from diffusers import DDIMScheduler

from qnerf.backbones.architecture import build_scheduler
from qnerf.backbones.process import DiscreteProcess, Parametrisation
from qnerf.denoising.ddim import ddim_step


def scheduler(prediction: Parametrisation) -> DDIMScheduler:
    return DDIMScheduler.from_config(build_scheduler().config, prediction_type=prediction)  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_step_is_diffusers_own_whatever_the_model_predicts(prediction: Parametrisation) -> None:
    theirs, steps_count = scheduler(prediction), 7
    theirs.set_timesteps(steps_count)
    process = DiscreteProcess(theirs.config)
    steps = process.steps(steps_count)
    generator = torch.Generator().manual_seed(0)
    z, output = torch.randn(2, 2, 4, 3, 3, generator=generator)
    for k, t in enumerate(steps.timesteps):
        expected = theirs.step(output, t, z, eta=0.0).prev_sample  # pyright: ignore[reportAttributeAccessIssue]
        noise = process.noise(output, z, torch.tensor([t, t]))
        torch.testing.assert_close(ddim_step(z, noise, steps, k, k + 1), expected, rtol=1e-4, atol=1e-4)


def test_the_three_outputs_of_one_state_mean_one_noise() -> None:
    process = DiscreteProcess(scheduler("epsilon").config)
    generator = torch.Generator().manual_seed(1)
    x, noise = torch.randn(2, 2, 4, 3, 3, generator=generator, dtype=torch.float64)
    t = 600
    z, alpha = process.noised(x, noise, t), process.alpha_bar(t)
    outputs: dict[Parametrisation, torch.Tensor] = {
        "epsilon": noise,
        "v_prediction": alpha**0.5 * noise - (1 - alpha) ** 0.5 * x,
        "sample": x,
    }
    for prediction, output in outputs.items():
        config = dict(scheduler(prediction).config)
        found = DiscreteProcess(config).noise(output, z, torch.tensor([t, t]))
        torch.testing.assert_close(found, noise, rtol=1e-9, atol=1e-9)


def test_the_noise_implies_the_clean_latents() -> None:
    steps = DiscreteProcess(build_scheduler().config).steps(5)
    x, noise = torch.randn(2, 1, 4, 3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for state in range(6):
        z = steps.signal[state] * x + steps.sigma[state] * noise
        torch.testing.assert_close(steps.clean(z, noise, state), x, rtol=1e-9, atol=1e-9)
