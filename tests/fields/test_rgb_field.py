import pytest
import torch

from qnerf.errors import UserError
from qnerf.fields.rgb_field import train_rgb_field
from qnerf.fields.settings import OptimiserSettings, RgbFieldSettings
from qnerf.scenes.cameras import Cameras
from tests.fields.helpers import DENSITY, GRID, SAMPLING, SPACE, ring, sphere


def settings(iterations: int) -> RgbFieldSettings:
    optimiser = OptimiserSettings(iterations=iterations, rays_per_batch=256, learning_rate=0.03, final_learning_rate=0.003)
    return RgbFieldSettings(
        grid=GRID, initial_density=DENSITY, sampling=SAMPLING, optimiser=optimiser, hidden_width=32, geometry_width=8
    )


def images(cameras: Cameras) -> torch.Tensor:
    return (sphere(cameras, cameras.height, 3)[0].permute(0, 3, 1, 2) + 1) / 2


def test_field_learns_a_sphere_and_generalises_to_other_views() -> None:
    cameras, others = ring(8), ring(8, start=0.5)
    field = train_rgb_field(images(cameras), cameras, SPACE, settings(250), seed=0)
    found, depth = field.render(others)
    assert found.shape == (8, 3, 32, 32)
    assert depth.shape == (8, 32, 32)
    psnr = -10 * torch.log10((found - images(others)).square().mean())
    assert psnr > 17
    truth = sphere(others, 32, 3)[1]
    assert (depth - truth)[torch.isfinite(truth)].abs().median() < 0.15


def test_only_the_pixels_that_are_wanted_are_rendered() -> None:
    cameras = ring(3)
    field = train_rgb_field(images(cameras), cameras, SPACE, settings(8), seed=1)
    where = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1)) < 0.3
    for found, whole in zip(field.render(cameras, where), field.render(cameras), strict=True):
        chosen = where[:, None].expand_as(found) if found.dim() == 4 else where
        torch.testing.assert_close(found[chosen], whole[chosen])
        assert not found[~chosen].any()
    assert not field.render(cameras, torch.zeros_like(where))[0].any(), "nothing is wanted: nothing fails"


def test_two_trainings_are_bit_equal() -> None:
    cameras = ring(3)
    first, second = (train_rgb_field(images(cameras), cameras, SPACE, settings(8), seed=1) for _ in range(2))
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_images_of_another_size_are_one_sentence() -> None:
    with pytest.raises(UserError, match=r"\(3, 3, 16, 16\)"):
        train_rgb_field(torch.zeros(3, 3, 16, 16), ring(3), SPACE, settings(1), seed=0)
