import pytest
import torch

from qnerf.backbones.architecture import tiny_backbone
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.errors import UserError


@pytest.fixture(scope="module")
def model() -> DiffusionBackbone:
    return tiny_backbone()


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(3, 4, 8, 8, generator=generator), torch.rand(3, 3, 32, 32, generator=generator)


@pytest.mark.parametrize("steps", [1, 7, 20, 30, 50, 999])
def test_timesteps_are_those_of_diffusers(model: DiffusionBackbone, steps: int) -> None:
    model.scheduler.set_timesteps(steps)
    assert model.process.timesteps(steps) == model.scheduler.timesteps.tolist()
    assert all(0 <= t < 1000 for t in model.process.timesteps(steps))


def test_a_ddim_step_by_hand_is_the_schedulers(model: DiffusionBackbone) -> None:
    """docs/method.md §1: ẑ0 = (z − √(1−ā) ε) / √ā, z_s = √ā_s ẑ0 + √(1−ā_s) ε, down to the final alpha."""
    model.scheduler.set_timesteps(5)
    times = model.process.timesteps(5)
    z = torch.randn(1, 4, 8, 8, dtype=torch.float64)
    for t, after in zip(times, [*times[1:], -1], strict=True):
        eps = torch.randn_like(z)
        expected = model.scheduler.step(eps, t, z).prev_sample  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
        now, later = model.process.alpha_bar(t), model.process.alpha_bar(after)
        z0 = (z - (1 - now) ** 0.5 * eps) / now**0.5
        ours = later**0.5 * z0 + (1 - later) ** 0.5 * eps
        torch.testing.assert_close(ours, expected, atol=2e-4, rtol=1e-4)  # the scheduler's alphas are float32
        z = ours


def test_alphas_worked_by_hand(model: DiffusionBackbone) -> None:
    assert model.process.alpha_bar(0) == pytest.approx(1 - 0.00085, abs=1e-12)
    second = (0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) / 999) ** 2
    assert model.process.alpha_bar(1) == pytest.approx((1 - 0.00085) * (1 - second), abs=1e-12)
    assert model.process.alpha_bar(-1) == model.process.alpha_bar(0)
    assert model.process.alphas_cumprod.dtype == torch.float64


@pytest.mark.parametrize("steps", [0, 1000])
def test_steps_out_of_range_are_refused(model: DiffusionBackbone, steps: int) -> None:
    with pytest.raises(UserError, match=f"steps is {steps}"):
        model.process.timesteps(steps)


def test_encode_decode_shapes_and_range(model: DiffusionBackbone) -> None:
    images = torch.rand(2, 3, 32, 32)
    z = model.encode(images)
    assert z.shape == (2, 4, 8, 8)
    mean = model.vae.encode(2 * images - 1).latent_dist.mean  # pyright: ignore[reportAttributeAccessIssue]
    torch.testing.assert_close(z, mean * model.vae.config["scaling_factor"], atol=1e-5, rtol=1e-5)
    decoded = model.decode(z * 50)
    assert decoded.shape == (2, 3, 32, 32)
    assert decoded.min() >= 0
    assert decoded.max() <= 1


def test_an_image_of_another_size_is_refused(model: DiffusionBackbone) -> None:
    with pytest.raises(UserError, match="16 x 24 pixels, but the backbone expects 32 x 32"):
        model.encode(torch.rand(1, 3, 24, 16))


def test_the_gradient_of_predict_is_right(model: DiffusionBackbone, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Along itself, where the slope stands clear of float32's rounding, against a central difference."""
    z, control = inputs[0][:1].requires_grad_(True), inputs[1][:1]
    text = model.embed(["a red shirt"])
    (gradient,) = torch.autograd.grad(model.predict(z, 500, Conditioning.of(text, control)).square().sum(), z)
    direction = gradient / gradient.square().mean().sqrt()
    with torch.no_grad():
        ahead, behind = (
            model.predict(z + h * direction, 500, Conditioning.of(text, control)).square().sum() for h in (1e-2, -1e-2)
        )
    assert float((gradient * direction).sum()) == pytest.approx(float((ahead - behind) / 2e-2), rel=2e-2)


def test_batch_size_changes_nothing(model: DiffusionBackbone, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    z, control = inputs
    text = model.embed(["a red shirt", "a figure", ""])
    times = torch.tensor([10, 500, 990])
    together = model.predict(z, times, Conditioning.of(text, control))
    for i in range(3):
        alone = model.predict(z[i : i + 1], int(times[i]), Conditioning.of(text[i : i + 1], control[i : i + 1]))
        torch.testing.assert_close(alone, together[i : i + 1], atol=1e-5, rtol=1e-4)


def test_nothing_in_the_model_asks_for_gradients(model: DiffusionBackbone) -> None:
    for part in (model.unet, *model.controlnets, model.vae, model.text_encoder):
        assert not part.training
        assert not any(parameter.requires_grad for parameter in part.parameters())
